package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/rpmflow/rpmflow"
)

const (
	sourcesPrefix = "sources/"
	recordsPrefix = sourcesPrefix + "by-url/"
	typeBinary    = "application/octet-stream"
	maxRecord     = 64 << 10 // bytes
)

// Sources is the cache of sources in the bucket: sources/<sha512>/<file> is content, sources/by-url/<id>.json what a
// URL returned when it was first requested.
type Sources struct{ s *Store }

// Sources returns the bucket's cache of sources.
func (s *Store) Sources() Sources { return Sources{s} }

// Find returns what is recorded under an id, and whether there is such a record.
func (c Sources) Find(ctx context.Context, id string) (f rpmflow.SourceFile, ok bool, err error) {
	key := recordsPrefix + id + ".json"
	body, _, err := c.s.Open(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	defer func() { _ = body.Close() }() // it was read to its end, or failed before
	raw, err := io.ReadAll(io.LimitReader(body, maxRecord))
	if err != nil {
		return f, false, err
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, false, fmt.Errorf("read %s: %w", c.s.Address(key), err)
	}
	return f, true, nil
}

// Record writes down what was found, unless something is recorded under the id: it returns what is recorded then. Of
// several at once one wins, and all of them are given what that one wrote.
func (c Sources) Record(ctx context.Context, id string, f rpmflow.SourceFile) (rpmflow.SourceFile, error) {
	key := recordsPrefix + id + ".json"
	raw, err := rpmflow.EncodeJSON(f, "  ")
	if err != nil {
		return f, fmt.Errorf("store %s: %w", c.s.Address(key), err)
	}
	a := c.s.artifact(key, "", typeJSON)
	a.Size, a.SHA256 = int64(len(raw)), rpmflow.Digest(raw)
	if err := CheckKey(key); err != nil {
		return f, fmt.Errorf("store a record: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	options := putOptions(&a)
	options.DisableContentSha256 = true
	options.SetMatchETagExcept("*") // only if there is none
	_, err = c.s.core.PutObject(ctx, c.s.bucket, key, bytes.NewReader(raw), a.Size, "", a.SHA256, options)
	if err == nil {
		return f, nil
	}
	failed := c.s.failPut(ctx, "store", key, err)
	// Whether it was refused because of another record, or its answer was lost: what is there now counts.
	there, ok, err := c.Find(ctx, id)
	if err != nil || !ok {
		return f, failed
	}
	return there, nil
}

// Open returns a source's content, which the caller compares with its checksum, and whether it is there.
func (c Sources) Open(ctx context.Context, sha512, name string) (io.ReadCloser, bool, error) {
	body, _, err := c.s.Open(ctx, contentKey(sha512, name))
	if errors.Is(err, ErrNotFound) {
		return nil, false, nil
	}
	return body, err == nil, err
}

// Keep stores the content of a file that has this checksum.
func (c Sources) Keep(ctx context.Context, sha512, name, file string) error {
	_, err := c.s.putFile(ctx, c.s.artifact(contentKey(sha512, name), "", typeBinary), file)
	return err
}

// Uploads are the source packages that users have uploaded to the listener, in the bucket: uploads/<sha512>/<file>.
// Unlike the cache of sources they can be had from nowhere else, so builders may only read them.
type Uploads struct{ s *Store }

const uploadsPrefix = "uploads/"

// Uploads returns the bucket's uploaded source packages.
func (s *Store) Uploads() Uploads { return Uploads{s} }

// Open returns the content of one, which the caller compares with its checksum, and whether it is there.
func (u Uploads) Open(ctx context.Context, sha512, name string) (io.ReadCloser, bool, error) {
	body, _, err := u.s.Open(ctx, uploadsPrefix+sha512+"/"+name)
	if errors.Is(err, ErrNotFound) {
		return nil, false, nil
	}
	return body, err == nil, err
}

// Keep stores the content of a file that has this checksum, unless it is there: the same content is stored once.
func (u Uploads) Keep(ctx context.Context, sha512, name, file string, size int64) error {
	key := uploadsPrefix + sha512 + "/" + name
	if body, info, err := u.s.Open(ctx, key); err == nil {
		_ = body.Close() // nothing was read
		if info.Size == size && info.SHA256 != "" {
			return nil
		}
	}
	_, err := u.s.putFile(ctx, u.s.artifact(key, "", typeRPM), file)
	return err
}

func contentKey(sha512, name string) string { return sourcesPrefix + sha512 + "/" + name }
