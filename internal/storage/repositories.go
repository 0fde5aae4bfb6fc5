package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/rpmflow/rpmflow"
)

// ErrChanged means that an object is not the one that a condition names: another program has written it since.
var ErrChanged = errors.New("another program has changed the object")

// Headers are what clients of an object get with it.
type Headers struct{ ContentType, CacheControl string }

// Repositories are the dnf repositories in the bucket, below repos/. Publishers alone write them.
type Repositories struct{ s *Store }

// RepositoriesPrefix is where they begin.
const RepositoriesPrefix = "repos/"

// Repositories returns the bucket's dnf repositories.
func (s *Store) Repositories() Repositories { return Repositories{s} }

// Read returns a small object and its version, which Replace asks for. Both are empty if there is no such object.
func (r Repositories) Read(ctx context.Context, key string, most int64) (content []byte, version string, err error) {
	const op = "read"
	if err := CheckKey(key); err != nil {
		return nil, "", fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	body, info, _, err := r.s.core.GetObject(ctx, r.s.bucket, key, minio.GetObjectOptions{})
	if err = r.s.fail(op, key, err); errors.Is(err, ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = body.Close() }() // it was read to its end, or failed before
	content, err = io.ReadAll(io.LimitReader(body, most+1))
	switch {
	case err != nil:
		return nil, "", r.s.fail(op, key, err)
	case int64(len(content)) > most:
		return nil, "", fmt.Errorf("%s %s: larger than %d bytes", op, r.s.Address(key), most)
	}
	return content, info.ETag, nil
}

// Replace stores a small object if the one that is there has this version; an empty one means that there is none. The
// error is ErrChanged if it has another. It returns the new version.
func (r Repositories) Replace(
	ctx context.Context, key string, content []byte, version string, h Headers,
) (string, error) {
	const op = "replace"
	if err := CheckKey(key); err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	options := minio.PutObjectOptions{
		ContentType: h.ContentType, CacheControl: h.CacheControl,
		UserMetadata: map[string]string{metaSHA256: rpmflow.Digest(content)},
	}
	switch {
	case fencing(r.s.fencing.Load()) == unfenced:
		there, err := r.version(ctx, key)
		if err != nil {
			return "", err
		}
		if there != version {
			return "", fmt.Errorf("%s %s: %w", op, r.s.Address(key), ErrChanged)
		}
	case version == "":
		options.SetMatchETagExcept("*")
	default:
		options.SetMatchETag(version)
	}
	stored, err := r.put(ctx, key, content, options)
	switch {
	case err == nil:
		return stored.ETag, nil
	case status(err) == http.StatusPreconditionFailed, status(err) == http.StatusConflict, code(err) == minio.NoSuchKey:
		// A write whose answer was lost is refused when the client repeats it.
		if there, now, readErr := r.Read(ctx, key, int64(len(content))); readErr == nil && bytes.Equal(there, content) {
			return now, nil
		}
		return "", fmt.Errorf("%s %s: %w (%w)", op, r.s.Address(key), ErrChanged, err)
	}
	return "", r.s.failPut(ctx, op, key, err)
}

// version is that of an object, as Read returns it; empty: there is none.
func (r Repositories) version(ctx context.Context, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	there, err := r.s.core.StatObject(ctx, r.s.bucket, key, minio.StatObjectOptions{})
	if err = r.s.fail("look at", key, err); errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return there.ETag, err
}

// Keep stores a file under a key whose content never changes. If it is there with this content, nothing is sent.
func (r Repositories) Keep(ctx context.Context, key, file, sha256 string, size int64, contentType string) error {
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("keep %s: %w", file, err)
	}
	sctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	there, err := r.s.core.StatObject(sctx, r.s.bucket, key, minio.StatObjectOptions{})
	if err == nil && there.Size == size && there.UserMetadata[metaSHA256] == sha256 {
		return nil
	}
	if err = r.s.fail("look at", key, err); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	a, err := r.s.putFile(ctx, r.s.artifact(key, "", contentType), file)
	if err == nil && a.SHA256 != sha256 {
		return fmt.Errorf("keep %s: its SHA-256 is %s, not %s", r.s.Address(key), a.SHA256, sha256)
	}
	return err
}

// Object is an object of a listing.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time
}

// List lists the objects below a prefix, in the order of their keys.
func (r Repositories) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		options := minio.ListObjectsOptions{Prefix: prefix, Recursive: true}
		for o := range r.s.core.ListObjectsIter(ctx, r.s.bucket, options) {
			if !yield(Object{o.Key, o.Size, o.LastModified}, r.s.fail("list", prefix, o.Err)) || o.Err != nil {
				return
			}
		}
	}
}

// Directory lists up to most objects and directories whose keys have a prefix and no slash behind it, but one at the
// end of a directory. more reports that there are others.
func (r Repositories) Directory(ctx context.Context, prefix string, most int) (all []Object, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	options := minio.ListObjectsOptions{Prefix: prefix, MaxKeys: most + 1}
	for o := range r.s.core.ListObjectsIter(ctx, r.s.bucket, options) {
		switch {
		case o.Err != nil:
			return nil, false, r.s.fail("list", prefix, o.Err)
		case len(all) == most:
			return all, true, nil
		}
		all = append(all, Object{o.Key, o.Size, o.LastModified})
	}
	return all, false, nil
}

// Remove removes an object, which may be gone already.
func (r Repositories) Remove(ctx context.Context, key string) error {
	const op = "remove"
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return r.s.fail(op, key, r.s.core.RemoveObject(ctx, r.s.bucket, key, minio.RemoveObjectOptions{}))
}
