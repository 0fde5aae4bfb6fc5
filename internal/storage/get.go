package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/minio/minio-go/v7"
)

// Info describes an object. Size and SHA256 are of the stored bytes; SHA256 is empty for an object that
// this package did not store.
type Info struct {
	Size            int64
	ContentType     string
	ContentEncoding string
	SHA256          string
	CacheControl    string
	ETag            string // without quotes
	Modified        time.Time
}

// Open returns an object's stored bytes: those of a log are compressed, see ContentEncoding. Reading fails when ctx
// ends. The error is ErrNotFound if there is no such object.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, Info, error) {
	const op = "read"
	if err := CheckKey(key); err != nil {
		return nil, Info{}, fmt.Errorf("%s: %w", op, err)
	}
	body, object, header, err := s.core.GetObject(ctx, s.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, Info{}, s.fail(op, key, err)
	}
	object.Metadata = header
	return &content{body, func(err error) error { return s.fail(op, key, err) }}, infoOf(object), nil
}

func infoOf(o minio.ObjectInfo) Info {
	return Info{
		Size: o.Size, ContentType: o.ContentType, ContentEncoding: o.Metadata.Get("Content-Encoding"),
		SHA256: o.UserMetadata[metaSHA256], CacheControl: o.Metadata.Get("Cache-Control"), ETag: o.ETag,
		Modified: o.LastModified,
	}
}

// OpenParts is Open for a reader that wants parts of the object: those are fetched when they are read.
func (s *Store) OpenParts(ctx context.Context, key string) (io.ReadSeekCloser, Info, error) {
	const op = "read"
	if err := CheckKey(key); err != nil {
		return nil, Info{}, fmt.Errorf("%s: %w", op, err)
	}
	object, err := s.core.Client.GetObject(ctx, s.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return nil, Info{}, s.fail(op, key, err)
	}
	info, err := object.Stat()
	if err != nil {
		return nil, Info{}, errors.Join(s.fail(op, key, err), object.Close())
	}
	return object, infoOf(info), nil
}

// content distinguishes a broken connection from the object's end, as an Error like any other.
type content struct {
	io.ReadCloser
	fail func(error) error
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.fail(err)
	}
	return n, err
}
