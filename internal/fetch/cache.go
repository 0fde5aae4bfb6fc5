package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// Cache keeps sources between builds, by their SHA-512, and what a project's URL returned when it was first requested.
// Its errors never fail a build: what it cannot provide is downloaded. It may be used by many goroutines and builders.
type Cache interface {
	// Find returns what was recorded under an id, and whether there is such a record.
	Find(ctx context.Context, id string) (rpmflow.SourceFile, bool, error)
	// Record stores what was found, unless something is recorded under the id: then it returns what is recorded.
	Record(ctx context.Context, id string, f rpmflow.SourceFile) (rpmflow.SourceFile, error)
	// Open returns a file's content, and whether it is there.
	Open(ctx context.Context, sha512, name string) (io.ReadCloser, bool, error)
	// Keep stores the content of a file on disk that has this checksum, and replaces what is there.
	Keep(ctx context.Context, sha512, name, file string) error
}

// cacheTimeout bounds a request to the cache that moves no content.
const cacheTimeout = 30 * time.Second

// fill gets the content of a file.
func (c *collection) fill(ctx context.Context, f File, out *os.File) (rpmflow.SourceFile, error) {
	sum, id, cached := "", cacheID(c.Project, f), c.Cache != nil
	for _, k := range f.Checksums {
		if k.Algorithm == "sha512" {
			sum = k.Hex
		}
	}
	recorded := ""
	if cached && sum == "" {
		var err error
		if recorded, err = c.find(ctx, id); err != nil {
			c.noCache(f, err)
			cached = false
		}
		sum = recorded
	}
	if cached && sum != "" {
		size, ok, err := c.fromCache(ctx, f, sum, out)
		if err != nil {
			c.noCache(f, err)
		}
		if ok {
			return rpmflow.SourceFile{
				Name: f.Name, URL: Clean(f.Places[0]), SHA512: sum, Size: size, Origin: rpmflow.OriginCache,
			}, nil
		}
	}
	got, err := f.download(ctx, c.Client, out)
	if err != nil {
		return rpmflow.SourceFile{}, err
	}
	source := rpmflow.SourceFile{Name: f.Name, URL: got.URL, SHA512: got.SHA512, Size: got.Size, Origin: f.Origin}
	if recorded != "" && recorded != got.SHA512 {
		return source, changed(source, recorded)
	}
	if !cached {
		return source, nil
	}
	if recorded, err = c.keep(ctx, id, source, out.Name()); err != nil {
		c.noCache(f, err)
	} else if recorded != got.SHA512 {
		return source, changed(source, recorded)
	}
	return source, nil
}

// noCache reports a failure of the cache; the build goes on without it.
func (c *collection) noCache(f File, err error) {
	c.Logger.Warn("source cache cannot be used", "project", c.Project, "file", f.Name, "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, fmt.Sprintf("the source cache could not be used for %s", printable.Name(f.Name)))
}

// changed is the failure of a file that was replaced by another one.
func changed(f rpmflow.SourceFile, before string) error {
	return rpmflow.Fail(rpmflow.FailureSource,
		"check why; if the new file is right, add 'sha512:"+f.SHA512+" "+f.Name+"' to the project's checksums",
		"%s has changed: its SHA-512 is %s, and was %s when it was first downloaded", f.URL, f.SHA512, before)
}

// find returns the SHA-512 of what the URL returned first; "" if it was not requested yet.
func (c *collection) find(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	f, ok, err := c.Cache.Find(ctx, id)
	if err != nil || !ok {
		return "", err
	}
	sum, err := checksum.New("sha512", f.SHA512)
	if err != nil {
		return "", fmt.Errorf("record of %s: %w", id, err)
	}
	return sum.Hex, nil
}

// fromCache copies what the cache has, if it is what it should be. The bounds are those of a download.
func (c *collection) fromCache(
	ctx context.Context, f File, sha512 string, out *os.File,
) (size int64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	in, ok, err := c.Cache.Open(ctx, sha512, f.Name)
	if err != nil || !ok {
		return 0, false, err
	}
	defer func() { _ = in.Close() }() // it was read to its end, or failed before
	sum, size, err := Sum(io.TeeReader(io.LimitReader(in, c.MaxFile+1), out), f.Checksums)
	if err == nil && sum != sha512 {
		err = fmt.Errorf("it has the SHA-512 %s", sum)
	}
	if err != nil {
		return 0, false, fmt.Errorf("sources/%s/%s: %w", sha512, f.Name, err)
	}
	return size, true, nil
}

// keep stores the content first and then its record, so that a record always has content. It returns what is recorded.
func (c *collection) keep(ctx context.Context, id string, f rpmflow.SourceFile, file string) (string, error) {
	if err := c.Cache.Keep(ctx, f.SHA512, f.Name, file); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	recorded, err := c.Cache.Record(ctx, id, f)
	return recorded.SHA512, err
}

// cacheID is the id of the record of what a project's URL returned. Credentials are not part of it, so that a new token
// does not mean a new file; but a checksum is: a file with another checksum is another file.
func cacheID(project string, f File) string {
	url, _, _ := strings.Cut(Clean(f.Places[0]), "#")
	parts := []string{project, url, f.Name}
	for _, k := range f.Checksums {
		parts = append(parts, k.String())
	}
	return rpmflow.Digest([]byte(strings.Join(parts, "\x00")))
}

// Compare compares a file on disk, which messages call name, with checksums that it must have.
func Compare(file, name string, known []checksum.Checksum) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("comparing %s with its checksum: %w", printable.Name(name), err)
	}
	defer func() { _ = in.Close() }() // it was read only
	_, _, err = Sum(in, known)
	var wrong *WrongSum
	if errors.As(err, &wrong) {
		return rpmflow.Fail(rpmflow.FailureSource, "check which of the two is right", "%s has %s", printable.Name(name),
			wrong)
	}
	return err
}
