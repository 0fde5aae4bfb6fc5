package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/minio/minio-go/v7"

	"github.com/rpmflow/rpmflow"
)

const (
	typeRPM  = "application/x-rpm"
	typeText = "text/plain; charset=utf-8"
	typeJSON = "application/json"

	maxSinglePut    = 5 << 30 // S3's limit for one PUT
	defaultPartSize = 512 << 20

	metaSHA256 = "Sha256" // user metadata: x-amz-meta-sha256

	// Immutable is the Cache-Control of objects that never change under their key.
	Immutable = "public, max-age=31536000, immutable"
)

// PutFile stores a file as it is. The artifact's NEVRA is left to the caller.
func (s *Store) PutFile(ctx context.Context, key, file string, kind rpmflow.ArtifactKind) (rpmflow.Artifact, error) {
	contentType := typeText
	switch kind {
	case rpmflow.KindRPM, rpmflow.KindSRPM:
		contentType = typeRPM
	case rpmflow.KindLog:
	default:
		return rpmflow.Artifact{}, fmt.Errorf("store %s as %s: unknown kind %q", file, key, kind)
	}
	return s.putFile(ctx, s.artifact(key, kind, contentType), file)
}

// putFile stores a file as the artifact, and sets its size and checksum.
func (s *Store) putFile(ctx context.Context, a rpmflow.Artifact, file string) (rpmflow.Artifact, error) {
	key := a.Key
	if err := CheckKey(key); err != nil {
		return a, fmt.Errorf("store %s: %w", file, err)
	}
	f, err := openRegular(file)
	if err != nil {
		return a, fmt.Errorf("store %s: %w", s.Address(key), err)
	}
	defer func() { _ = f.Close() }() // it was read only
	hash := sha256.New()
	if a.Size, err = io.Copy(hash, reader{ctx, f}); err != nil {
		return a, fmt.Errorf("store %s: read %s: %w", s.Address(key), file, err)
	}
	a.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return a, s.put(ctx, &a, f, Immutable)
}

// PutLog stores a log, compressed on the way: browsers and curl --compressed show it as text, and its Content-Encoding
// is gzip. The same log always makes the same bytes.
func (s *Store) PutLog(ctx context.Context, key, file string) (rpmflow.Artifact, error) {
	a := s.artifact(key, rpmflow.KindLog, typeText)
	a.ContentEncoding = "gzip"
	if err := CheckKey(key); err != nil {
		return a, fmt.Errorf("store %s: %w", file, err)
	}
	in, err := openRegular(file)
	if err != nil {
		return a, fmt.Errorf("store %s: %w", s.Address(key), err)
	}
	defer func() { _ = in.Close() }() // it was read only

	// S3 needs size and checksum before the first byte, and a log can be bigger than the memory. The file is
	// next to the log, where the space for builds is, and has no name, so that no end of ours leaves it behind.
	out, err := os.CreateTemp(filepath.Dir(file), ".log-*.gz")
	if err != nil {
		return a, fmt.Errorf("store %s: make a compressed copy: %w", s.Address(key), err)
	}
	defer func() { _ = out.Close() }() // not needed afterwards
	if err := os.Remove(out.Name()); err != nil {
		return a, fmt.Errorf("store %s: make a compressed copy: %w", s.Address(key), err)
	}
	hash := sha256.New()
	zip := gzip.NewWriter(io.MultiWriter(out, hash)) // no name and no time in its header
	_, err = io.Copy(zip, reader{ctx, in})
	if err = errors.Join(err, zip.Close()); err != nil {
		return a, fmt.Errorf("store %s: compress %s: %w", s.Address(key), file, err)
	}
	if a.Size, err = out.Seek(0, io.SeekCurrent); err != nil {
		return a, fmt.Errorf("store %s: compress %s: %w", s.Address(key), file, err)
	}
	a.SHA256 = hex.EncodeToString(hash.Sum(nil))
	return a, s.put(ctx, &a, out, Immutable)
}

// PutJSON stores a value, indented for people.
func (s *Store) PutJSON(ctx context.Context, key string, v any) error {
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("store a record: %w", err)
	}
	raw, err := rpmflow.EncodeJSON(v, "  ")
	if err != nil {
		return fmt.Errorf("store %s: %w", s.Address(key), err)
	}
	raw = append(raw, '\n')
	a := s.artifact(key, "", typeJSON)
	a.Size, a.SHA256 = int64(len(raw)), rpmflow.Digest(raw)
	return s.put(ctx, &a, bytes.NewReader(raw), "")
}

func (s *Store) artifact(key string, kind rpmflow.ArtifactKind, contentType string) rpmflow.Artifact {
	return rpmflow.Artifact{Name: path.Base(key), Kind: kind, Key: key, URL: s.URL(key), ContentType: contentType}
}

// put sends content that has the artifact's size and checksum, and looks at what has arrived.
func (s *Store) put(ctx context.Context, a *rpmflow.Artifact, content io.ReaderAt, cache string) error {
	const op = "store"
	ctx, cancel := context.WithTimeout(ctx, callLimit+time.Duration(a.Size/minRate)*time.Second)
	defer cancel()
	options := putOptions(a)
	options.CacheControl = cache
	// A section is sent again from its beginning after a failure, and never closed by the client.
	body := io.NewSectionReader(content, 0, a.Size)
	var err error
	if a.Size <= s.singlePut {
		// The checksum is part of the signature: the server refuses every byte that is not one of those summed.
		options.DisableContentSha256 = true
		_, err = s.core.PutObject(ctx, s.bucket, a.Key, body, a.Size, "", a.SHA256, options)
	} else {
		options.PartSize = uint64(s.partSize)
		_, err = s.core.Client.PutObject(ctx, s.bucket, a.Key, body, a.Size, options)
		if err == nil {
			err = sameContent(ctx, content, a)
		}
	}
	if err != nil {
		return s.failPut(ctx, op, a.Key, err)
	}
	stored, err := s.core.StatObject(ctx, s.bucket, a.Key, minio.StatObjectOptions{})
	if err != nil {
		return s.fail(op+" and check", a.Key, err)
	}
	if stored.Size != a.Size || stored.UserMetadata[metaSHA256] != a.SHA256 {
		return s.fail(op+" and check", a.Key, fmt.Errorf("sent %d bytes with SHA-256 %s, but it keeps %d with %q",
			a.Size, a.SHA256, stored.Size, stored.UserMetadata[metaSHA256]))
	}
	return nil
}

func putOptions(a *rpmflow.Artifact) minio.PutObjectOptions {
	return minio.PutObjectOptions{
		ContentType:     a.ContentType,
		ContentEncoding: a.ContentEncoding,
		UserMetadata:    map[string]string{metaSHA256: a.SHA256},
	}
}

// failPut finds out why a connection broke in the middle of an upload. A server that refuses may close it while content
// is still coming, and then its answer is lost: what looks temporary would be tried again and again.
func (s *Store) failPut(ctx context.Context, op, key string, err error) error {
	err = s.fail(op, key, err)
	if !Temporary(err) || code(err) != "" || ctx.Err() != nil {
		return err
	}
	if reason := s.Healthy(ctx); errors.Is(reason, ErrRefused) {
		return fmt.Errorf("%s %s: %w", op, s.Address(key), reason)
	}
	return err
}

// sameContent sums content once more, after an upload in parts, as the server checks the parts only.
func sameContent(ctx context.Context, content io.ReaderAt, a *rpmflow.Artifact) error {
	hash := sha256.New()
	if _, err := io.Copy(hash, reader{ctx, io.NewSectionReader(content, 0, a.Size)}); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != a.SHA256 {
		return errors.New("the file changed while it was sent")
	}
	return nil
}

// openRegular opens a file for reading. What a package's build leaves behind may be a link to somewhere else or a pipe:
// neither is followed.
func openRegular(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file (%s)", file, fi.Mode().Type())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// reader ends with its ctx, so that the reading of a huge file does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
