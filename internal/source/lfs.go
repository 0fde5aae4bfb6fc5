package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/fetch"
)

const (
	// maxPointer is the size below which a file can be a pointer (git-lfs/docs/spec.md).
	maxPointer = 1024
	lfsOff     = "set lfs: true of the project to have the content, or commit the file itself"
)

// pointer stands for a file that Git LFS keeps.
type pointer struct {
	path string // in the tree
	fetch.Object
}

func isPointer(text []byte) bool {
	return len(text) < maxPointer && bytes.HasPrefix(text, lfsPointer) && bytes.Contains(text, []byte("\noid sha256:"))
}

// parsePointer reads a pointer: lines of a key and a value.
func parsePointer(path string, text []byte) (pointer, error) {
	p := pointer{path: path, Object: fetch.Object{Size: -1}}
	refuse := func(why string) (pointer, error) {
		return pointer{}, rpmflow.Fail(rpmflow.FailureSource, "have git lfs write it anew, or commit the file itself", "%s is a malformed pointer of Git LFS: %s", show(path), why)
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch {
		case key == "oid":
			sum, err := checksum.New("sha256", strings.TrimPrefix(value, "sha256:"))
			if err != nil || p.OID != "" {
				return refuse("its oid is no SHA-256 checksum")
			}
			p.OID = sum.Hex
		case key == "size":
			size, err := strconv.ParseInt(value, 10, 64)
			if err != nil || size < 0 || p.Size >= 0 {
				return refuse("its size is no number")
			}
			p.Size = size
		case strings.HasPrefix(key, "ext-"):
			return refuse("it was written with an extension, " + show(key) + ", whose program is not here")
		}
	}
	if p.OID == "" || p.Size < 0 {
		return refuse("it has no oid or no size")
	}
	return p, nil
}

// lfsServer is where a repository's files are.
type lfsServer struct {
	local string // a repository on this machine
	fetch.LFSServer
}

// lfsServer finds it as git-lfs does: .lfsconfig names it, else it is derived from the repository's URL. The project's token goes to the
// project's own server only: whoever may push writes .lfsconfig.
func (s *Store) lfsServer(ctx context.Context, snap *snapshot, req Request) (*lfsServer, error) {
	r, err := s.remote(req)
	if err != nil {
		return nil, err
	}
	const hint = "set lfs.url in .lfsconfig to a URL of https"
	settings, err := snap.gitConfig(ctx, ".lfsconfig", hint)
	if err != nil {
		return nil, err
	}
	own, derr := r.lfsEndpoint()
	endpoint := own
	for _, set := range settings {
		if set.key == "lfs.url" && set.value != "" {
			named, err := parseRemote(set.value)
			if err != nil || named.path != "" {
				return nil, rpmflow.Fail(rpmflow.FailureSource, hint, "lfs.url in .lfsconfig, %q, is not the address of a Git LFS server", CleanURL(set.value))
			}
			if endpoint, err = named.lfsAddress(); err != nil {
				return nil, err
			}
		}
	}
	if endpoint == "" {
		return &lfsServer{local: r.path}, derr
	}
	server := &lfsServer{LFSServer: fetch.LFSServer{Endpoint: endpoint}}
	if strings.HasPrefix(req.Ref, "refs/") {
		server.Ref = req.Ref
	}
	if sameDoor(endpoint, own) && r.client == nil {
		server.Trusted, server.Authorization = true, r.lfsAuthorization()
	}
	return server, nil
}

// sameDoor compares scheme, host and port of two addresses.
func sameDoor(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	return sameServer(&remote{url: a}, &remote{url: b})
}

// lfsAddress is the https or http address for a remote, without credentials: of one behind ssh that of the same path on the same host
// (git-lfs/docs/api/server-discovery.md).
func (r *remote) lfsAddress() (string, error) {
	address := &url.URL{Scheme: "https"}
	if m := scpForm.FindStringSubmatch(r.url); r.ssh && m != nil && !strings.Contains(r.url, "://") {
		rest := m[3]
		if port := scpPort.FindStringSubmatch(rest); port != nil {
			rest = port[2]
		}
		address.Host, address.Path = m[2], "/"+strings.TrimPrefix(rest, "/")
	} else {
		u, err := url.Parse(r.url)
		if err != nil {
			return "", rpmflow.Fail(rpmflow.FailureSource, "correct the URL", "repository %s: malformed URL", r.clean)
		}
		address.Host, address.Path, address.RawPath = u.Host, u.Path, u.RawPath
		if r.ssh {
			address.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
		} else {
			address.Scheme = strings.ToLower(u.Scheme)
		}
	}
	return strings.TrimRight(address.String(), "/"), nil
}

// lfsEndpoint is the server's address where nothing else names it; "" for a repository on disk.
func (r *remote) lfsEndpoint() (string, error) {
	if r.path != "" {
		return "", nil
	}
	address, err := r.lfsAddress()
	if err == nil && !strings.HasSuffix(address, ".git") {
		address += ".git"
	}
	return address + "/info/lfs", err
}

// lfsAuthorization is what lets us in there: as over https, also where git itself goes through ssh.
func (r *remote) lfsAuthorization() string {
	web := *r
	if r.ssh {
		if r.access.Token == "" {
			return ""
		}
		web.ssh, web.url = false, "https://host/"
	}
	return strings.TrimPrefix(web.authorization(), "Authorization: ")
}

// fetchObjects puts the content of pointers into dir, each under its OID.
func (s *Store) fetchObjects(ctx context.Context, project string, server *lfsServer, dir string, all []pointer) (notes []string, err error) {
	var wanted []wanted
	var objects []fetch.Object
	var total int64
	seen := map[string]bool{}
	for _, p := range all {
		if p.Size > s.maxFile {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "keep it out of the package's sources, or ask an operator to raise builder.max_source",
				"%s has %d bytes by its Git LFS pointer; up to %d are taken", show(p.path), p.Size, s.maxFile)
		}
		if _, err := os.Lstat(filepath.Join(dir, p.OID)); seen[p.OID] || err == nil {
			continue
		}
		seen[p.OID] = true
		objects = append(objects, p.Object)
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
	if server.local != "" {
		return nil, server.copyObjects(ctx, dir, all)
	}
	client, err := s.client.LFS(server.LFSServer)
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

func wantedObject(p pointer) wanted {
	sum := checksum.Checksum{Algorithm: "sha256", Hex: p.OID}
	return wanted{name: p.OID, what: show(p.path) + " (Git LFS)", known: []checksum.Checksum{sum}, origin: rpmflow.OriginDownload}
}

// copyObjects takes them from a repository on this machine.
func (l *lfsServer) copyObjects(ctx context.Context, dir string, all []pointer) error {
	for _, p := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := filepath.Join(dir, p.OID)
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		object := filepath.Join("lfs", "objects", p.OID[:2], p.OID[2:4], p.OID)
		var err error
		for _, from := range []string{filepath.Join(l.local, object), filepath.Join(l.local, ".git", object)} {
			if err = copyIfThere(from, to); err != nil {
				return fmt.Errorf("file %s of Git LFS: %w", show(p.path), err)
			}
			if _, err = os.Lstat(to); err == nil {
				break
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return rpmflow.Fail(rpmflow.FailureSource, "push it there: git lfs push --all", "%s is a Git LFS pointer, and %s does not have the file", show(p.path), filepath.Join(l.local, object))
		}
		if err == nil {
			err = p.compare(to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare checks size and checksum of what was copied.
func (p pointer) compare(file string) error {
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("file %s of Git LFS: %w", show(p.path), err)
	}
	defer func() { _ = in.Close() }() // it was read only
	_, size, err := fetch.Sum(io.LimitReader(in, p.Size+1), wantedObject(p).known)
	var wrong *fetch.WrongSum
	if errors.As(err, &wrong) || err == nil && size != p.Size {
		return rpmflow.Fail(rpmflow.FailureSource, "push it again: git lfs push --all", "%s in the repository's lfs/objects is another file than its pointer says", show(p.path))
	}
	return err
}

// pending is a source beside the spec of which there is only a pointer so far.
type pending struct {
	pointer
	as     string // below %_sourcedir
	mode   fs.FileMode
	server *lfsServer
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
	var all []pointer
	for _, l := range now {
		all = append(all, l.pointer)
	}
	notes, err := p.store.fetchObjects(ctx, p.request.Project, now[0].server, dir, all)
	p.Notes = append(p.Notes, notes...)
	if err != nil {
		return err
	}
	for _, l := range now {
		to := filepath.Join(into, l.as)
		if err := copyIfThere(filepath.Join(dir, l.OID), to); err != nil {
			return fmt.Errorf("copying the source %s: %w", show(l.as), err)
		}
		if err := errors.Join(os.Chmod(to, l.mode), setTime(to, p.CommitTime)); err != nil {
			return fmt.Errorf("copying the source %s: %w", show(l.as), err)
		}
	}
	return nil
}
