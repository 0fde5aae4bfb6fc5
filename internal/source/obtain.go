package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/filetime"
)

const (
	atOnce = 4 // downloads of one build
	// maxTotal is how many times MaxFile all sources of one build may have that are not in git.
	maxTotal = 4
	// askCache bounds a question to the cache that moves no content.
	askCache = 30 * time.Second
)

// Cache keeps sources between builds, by their SHA-512, and what a project's URL gave when it was first asked. Its errors never fail
// a build: what it cannot give is downloaded. It may be used by many goroutines and builders.
type Cache interface {
	// Find gives what was recorded under an id, and whether there is such a record.
	Find(ctx context.Context, id string) (rpmflow.SourceFile, bool, error)
	// Record writes down what was found, unless something is recorded under the id: it gives what is recorded then.
	Record(ctx context.Context, id string, f rpmflow.SourceFile) (rpmflow.SourceFile, error)
	// Open gives a file's content, and whether it is there.
	Open(ctx context.Context, sha512, name string) (io.ReadCloser, bool, error)
	// Keep stores the content of a file on disk that has this checksum, instead of what is there.
	Keep(ctx context.Context, sha512, name, file string) error
}

// wanted is a source that is not in git.
type wanted struct {
	name   string
	what   string              // it is for people: Source0, or the list that has it
	places []string            // its own URL and then the mirrors'
	known  []checksum.Checksum // must all be right
	origin rpmflow.Origin      // when it comes from one of the places
	// get, where it is set, downloads it in another way than from the places, of which the first is its name then.
	get func(ctx context.Context, out *os.File) (fetch.Got, error)
}

// collection is the work on several sources at once.
type collection struct {
	*Store
	project string
	dir     string // where they are put
	mtime   time.Time

	mu    sync.Mutex
	files []rpmflow.SourceFile
	notes []string
	bytes int64
}

// collect puts the wanted files into dir, from the cache or from where they are, and keeps in the cache what was not there. With an error it
// gives those that it has.
func (s *Store) collect(ctx context.Context, project, dir string, mtime time.Time, all []wanted) (files []rpmflow.SourceFile, notes []string, err error) {
	c := &collection{Store: s, project: project, dir: dir, mtime: mtime, files: make([]rpmflow.SourceFile, len(all))}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, w := range all {
		group.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			f, err := c.obtain(gctx, w, fmt.Sprintf(".rpmflow-source-%d.part", i))
			if err != nil {
				return fmt.Errorf("%s: %w", w.what, err)
			}
			c.files[i] = f
			return c.count(f.Size)
		})
	}
	err = group.Wait()
	return slices.DeleteFunc(c.files, func(f rpmflow.SourceFile) bool { return f.Name == "" }), c.notes, err
}

func (c *collection) count(size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes += size; c.bytes > maxTotal*c.maxFile {
		return rpmflow.Fail(rpmflow.FailureSource, c.client.Raise+", if all of them are needed",
			"the sources that are not in the repository have more than %d bytes together", maxTotal*c.maxFile)
	}
	return nil
}

// noCache makes a failure of the cache known; the build goes on without.
func (c *collection) noCache(w wanted, err error) {
	c.log.Warn("source cache cannot be used", "project", c.project, "file", w.name, "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, fmt.Sprintf("the source cache could not be used for %s", show(w.name)))
}

// obtain makes one file under a name of its own and gives it its name when it is whole.
func (c *collection) obtain(ctx context.Context, w wanted, part string) (f rpmflow.SourceFile, err error) {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return f, err
	}
	defer root.Close()
	out, err := root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return f, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(part))
		}
	}()
	f, err = c.fill(ctx, w, out)
	if err == nil {
		err = out.Chmod(0o644) // whatever the umask: the SRPM records it
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return f, err
	}
	if err = filetime.Set(filepath.Join(c.dir, part), c.mtime); err != nil {
		return f, err
	}
	return f, root.Rename(part, w.name)
}

// fill gets the content.
func (c *collection) fill(ctx context.Context, w wanted, out *os.File) (rpmflow.SourceFile, error) {
	sum, id, cached := "", cacheID(c.project, w), c.cache != nil
	for _, k := range w.known {
		if k.Algorithm == "sha512" {
			sum = k.Hex
		}
	}
	recorded := ""
	if cached && sum == "" {
		var err error
		if recorded, err = c.find(ctx, id); err != nil {
			c.noCache(w, err)
			cached = false
		}
		sum = recorded
	}
	if cached && sum != "" {
		size, ok, err := c.fromCache(ctx, w, sum, out)
		if err != nil {
			c.noCache(w, err)
		}
		if ok {
			return rpmflow.SourceFile{Name: w.name, URL: fetch.Clean(w.places[0]), SHA512: sum, Size: size, Origin: rpmflow.OriginCache}, nil
		}
	}
	get := w.get
	if get == nil {
		get = func(ctx context.Context, out *os.File) (fetch.Got, error) {
			return c.client.Fetch(ctx, w.places, w.known, out)
		}
	}
	got, err := get(ctx, out)
	if err != nil {
		return rpmflow.SourceFile{}, err
	}
	f := rpmflow.SourceFile{Name: w.name, URL: got.URL, SHA512: got.SHA512, Size: got.Size, Origin: w.origin}
	if recorded != "" && recorded != got.SHA512 {
		return f, changed(f, recorded)
	}
	if !cached {
		return f, nil
	}
	if recorded, err = c.keep(ctx, id, f, out.Name()); err != nil {
		c.noCache(w, err)
	} else if recorded != got.SHA512 {
		return f, changed(f, recorded)
	}
	return f, nil
}

// changed is what somebody has put another file in the place of.
func changed(f rpmflow.SourceFile, before string) error {
	return rpmflow.Fail(rpmflow.FailureSource,
		"find out why; if the new file is right, say so: add 'sha512:"+f.SHA512+" "+f.Name+"' to the project's checksums",
		"%s has changed: its SHA-512 is %s, and was %s when it was first downloaded", f.URL, f.SHA512, before)
}

// find asks for the SHA-512 of what the URL gave first; "" if nobody has asked it yet.
func (c *collection) find(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askCache)
	defer cancel()
	f, ok, err := c.cache.Find(ctx, id)
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
func (c *collection) fromCache(ctx context.Context, w wanted, sha512 string, out *os.File) (size int64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.client.Timeout)
	defer cancel()
	in, ok, err := c.cache.Open(ctx, sha512, w.name)
	if err != nil || !ok {
		return 0, false, err
	}
	defer func() { _ = in.Close() }() // it was read to its end, or failed before
	sum, size, err := fetch.Sum(io.TeeReader(io.LimitReader(in, c.maxFile+1), out), w.known)
	if err == nil && sum != sha512 {
		err = fmt.Errorf("it has the SHA-512 %s", sum)
	}
	if err != nil {
		return 0, false, fmt.Errorf("sources/%s/%s: %w", sha512, w.name, err)
	}
	return size, true, nil
}

// keep stores the content first and then what it is called, so that a record always has content. It gives what is recorded.
func (c *collection) keep(ctx context.Context, id string, f rpmflow.SourceFile, file string) (string, error) {
	if err := c.cache.Keep(ctx, f.SHA512, f.Name, file); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, askCache)
	defer cancel()
	recorded, err := c.cache.Record(ctx, id, f)
	return recorded.SHA512, err
}

// cacheID is the record's of what a project's URL gave. Credentials are no part of it, so that a new token does not mean a new file; but
// a checksum is: whoever states another one means another file.
func cacheID(project string, w wanted) string {
	url, _, _ := strings.Cut(fetch.Clean(w.places[0]), "#")
	parts := []string{project, url, w.name}
	for _, k := range w.known {
		parts = append(parts, k.String())
	}
	return rpmflow.Digest([]byte(strings.Join(parts, "\x00")))
}

// Download gets one file from a URL into a new file, with these checksums.
func (s *Store) Download(ctx context.Context, url string, known []checksum.Checksum, to string) (rpmflow.SourceFile, error) {
	c := &collection{Store: s, dir: filepath.Dir(to), mtime: time.Now()}
	return c.obtain(ctx, wanted{name: filepath.Base(to), places: []string{url}, known: known, origin: rpmflow.OriginDownload}, ".rpmflow-download.part")
}

// DownloadFile downloads one file as sources are downloaded, and puts it on disk under this name. Of the options those of downloads count.
func DownloadFile(ctx context.Context, o Options, url, to string) error {
	s, err := openDownloads(o)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Download(ctx, url, nil, to)
	return err
}

// CompareFile compares a file on disk, which people know by the name, with its checksums.
func CompareFile(file, name string, known []checksum.Checksum) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("comparing %s with its checksum: %w", show(name), err)
	}
	defer func() { _ = in.Close() }() // it was read only
	_, _, err = fetch.Sum(in, known)
	var wrong *fetch.WrongSum
	if errors.As(err, &wrong) {
		return rpmflow.Fail(rpmflow.FailureSource, "find out which of both is right", "%s has %s", show(name), wrong)
	}
	return err
}
