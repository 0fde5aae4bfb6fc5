package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/filetime"
	"github.com/rpmflow/rpmflow/internal/git"
)

// fetchObjects puts the content of pointers into dir, each under its OID.
func (s *Store) fetchObjects(ctx context.Context, project string, server *git.LFSServer, dir string, all []git.Pointer) (notes []string, err error) {
	var wanted []wanted
	var objects []fetch.Object
	var total int64
	seen := map[string]bool{}
	for _, p := range all {
		if p.Size > s.maxFile {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "keep it out of the package's sources, or ask an operator to raise builder.max_source",
				"%s has %d bytes by its Git LFS pointer; up to %d are taken", show(p.Path), p.Size, s.maxFile)
		}
		if _, err := os.Lstat(filepath.Join(dir, p.OID)); seen[p.OID] || err == nil {
			continue
		}
		seen[p.OID] = true
		objects = append(objects, fetch.Object{OID: p.OID, Size: p.Size})
		if total += p.Size; total > maxTotal*s.maxFile {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "mark what the package does not need with export-ignore in .gitattributes, or ask an operator to raise builder.max_source",
				"the files that Git LFS keeps have more than %d bytes together", maxTotal*s.maxFile)
		}
		w := wantedObject(p)
		wanted = append(wanted, w)
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	if server.Local != "" {
		return nil, copyObjects(ctx, server, dir, all)
	}
	client, err := s.client.LFS(fetch.LFSServer{Endpoint: server.Endpoint, Ref: server.Ref, Trusted: server.Trusted,
		Authorization: server.Authorization})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for i := range wanted {
		o, next := objects[i], objects[i+1:]
		wanted[i].places = []string{client.Name(o)}
		wanted[i].get = func(ctx context.Context, out *os.File) (fetch.Got, error) { return client.Fetch(ctx, o, next, out) }
	}
	_, notes, err = s.collect(ctx, project, dir, time.Unix(0, 0), wanted)
	return notes, err
}

func wantedObject(p git.Pointer) wanted {
	sum := checksum.Checksum{Algorithm: "sha256", Hex: p.OID}
	return wanted{name: p.OID, what: show(p.Path) + " (Git LFS)", known: []checksum.Checksum{sum}, origin: rpmflow.OriginDownload}
}

// copyObjects takes them from a repository on this machine.
func copyObjects(ctx context.Context, server *git.LFSServer, dir string, all []git.Pointer) error {
	for _, p := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := filepath.Join(dir, p.OID)
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		object := filepath.Join("lfs", "objects", p.OID[:2], p.OID[2:4], p.OID)
		err := copyFile(filepath.Join(server.Local, object), to)
		if errors.Is(err, fs.ErrNotExist) {
			err = copyFile(filepath.Join(server.Local, ".git", object), to)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return rpmflow.Fail(rpmflow.FailureSource, "push it there: git lfs push --all", "%s is a Git LFS pointer, and %s does not have the file", show(p.Path), filepath.Join(server.Local, object))
		}
		if err != nil {
			return fmt.Errorf("file %s of Git LFS: %w", show(p.Path), err)
		}
		if err := compareObject(p, to); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file to one that does not exist.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// compareObject checks size and checksum of what was copied.
func compareObject(p git.Pointer, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("file %s of Git LFS: %w", show(p.Path), err)
	}
	defer func() { _ = in.Close() }() // it was read only
	_, size, err := fetch.Sum(io.LimitReader(in, p.Size+1), wantedObject(p).known)
	var wrong *fetch.WrongSum
	if errors.As(err, &wrong) || err == nil && size != p.Size {
		return rpmflow.Fail(rpmflow.FailureSource, "push it again: git lfs push --all", "%s in the repository's lfs/objects is another file than its pointer says", show(p.Path))
	}
	return err
}

// pending is a source beside the spec of which there is only a pointer so far.
type pending struct {
	git.Pointer
	as     string // below %_sourcedir
	mode   fs.FileMode
	server *git.LFSServer
}

// fetchPending puts the content of pointers beside the spec in their places: of all of them, or of those that are named.
func (p *Prepared) fetchPending(ctx context.Context, named func(as string) bool) (err error) {
	var now []pending
	p.pending = slices.DeleteFunc(p.pending, func(l pending) bool {
		if !named(l.as) {
			return false
		}
		now = append(now, l)
		return true
	})
	if len(now) == 0 {
		return nil
	}
	into := p.Sources
	if p.SRPM != "" {
		into = filepath.Dir(p.SRPM)
	}
	dir, err := os.MkdirTemp(filepath.Dir(into), "lfs-")
	if err != nil {
		return fmt.Errorf("fetching Git LFS files: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var all []git.Pointer
	for _, l := range now {
		all = append(all, l.Pointer)
	}
	notes, err := p.store.fetchObjects(ctx, p.request.Project, now[0].server, dir, all)
	p.Notes = append(p.Notes, notes...)
	if err != nil {
		return err
	}
	for _, l := range now {
		to := filepath.Join(into, l.as)
		if err := copyFile(filepath.Join(dir, l.OID), to); err != nil {
			return fmt.Errorf("copying the source %s: %w", show(l.as), err)
		}
		if err := errors.Join(os.Chmod(to, l.mode), filetime.Set(to, p.CommitTime)); err != nil {
			return fmt.Errorf("copying the source %s: %w", show(l.as), err)
		}
	}
	return nil
}
