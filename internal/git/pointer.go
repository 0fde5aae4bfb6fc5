package git

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// MaxPointer is the size below which a file can be a pointer (git-lfs/docs/spec.md).
const MaxPointer = 1024

// pointerStart is how a pointer begins.
var pointerStart = []byte("version https://git-lfs.github.com/spec/v1")

// Pointer stands in a tree for a file that Git LFS keeps elsewhere.
type Pointer struct {
	Path string // in the tree
	OID  string // SHA-256 of the content, in hex
	Size int64  // of the content, in bytes
}

// IsPointer reports whether a file with this content is a pointer.
func IsPointer(text []byte) bool {
	return len(text) < MaxPointer && bytes.HasPrefix(text, pointerStart) &&
		bytes.Contains(text, []byte("\noid sha256:"))
}

// parsePointer reads a pointer: lines of a key and a value.
func parsePointer(path string, text []byte) (Pointer, error) {
	p := Pointer{Path: path, Size: -1}
	refuse := func(why string) (Pointer, error) {
		return Pointer{}, rpmflow.Fail(rpmflow.FailureSource, "write it again with git lfs, or commit the file itself",
			"%s is a malformed pointer of Git LFS: %s", show(path), why)
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch {
		case key == "oid":
			sum, err := checksum.New("sha256", strings.TrimPrefix(value, "sha256:"))
			if err != nil || p.OID != "" {
				return refuse("its oid is not a SHA-256 checksum")
			}
			p.OID = sum.Hex
		case key == "size":
			size, err := strconv.ParseInt(value, 10, 64)
			if err != nil || size < 0 || p.Size >= 0 {
				return refuse("its size is not a number")
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

// LFSServer is where the files are that a repository has pointers to.
type LFSServer struct {
	Local    string // a repository on this machine; "" if the files are on a server
	Endpoint string // the server's address, without credentials
	Ref      string // the pushed ref; "" if there is none
	// Trusted means that it is the project's own server, for which Authorization is.
	Trusted       bool
	Authorization string
}

// LFSServer finds it as git-lfs does: .lfsconfig names it, else it is derived from the repository's URL. The
// project's credentials are for the project's own server only: anybody who may push writes .lfsconfig.
func (c *Commit) LFSServer(ctx context.Context) (*LFSServer, error) {
	const hint = "set lfs.url in .lfsconfig to a URL of https"
	settings, err := c.config(ctx, ".lfsconfig", hint)
	if err != nil {
		return nil, err
	}
	own := c.remote.lfsEndpoint()
	endpoint, trusted := own, true
	for _, s := range settings {
		if s.key == "lfs.url" && s.value != "" {
			named, err := parseRemote(s.value)
			if err != nil || named.url.Local() {
				return nil, rpmflow.Fail(rpmflow.FailureSource, hint,
					"lfs.url in .lfsconfig, %q, is not the address of a Git LFS server", giturl.Redact(s.value))
			}
			endpoint = named.url.Web().String()
			// A malformed URL and a repository on disk are on no server.
			there, _ := giturl.Parse(endpoint)
			here, _ := giturl.Parse(own)
			trusted = there.SameServer(here)
		}
	}
	if endpoint == "" {
		return &LFSServer{Local: c.remote.path()}, nil
	}
	server := &LFSServer{Endpoint: endpoint}
	if strings.HasPrefix(c.ref, "refs/") {
		server.Ref = c.ref
	}
	if trusted && c.remote.dial == nil {
		server.Trusted, server.Authorization = true, c.remote.lfsAuthorization()
	}
	return server, nil
}

// lfsEndpoint is the server's address if nothing else names it; "" for a repository on disk. For one behind ssh it is
// the same path on the same host (git-lfs/docs/api/server-discovery.md).
func (r *remote) lfsEndpoint() string {
	web := r.url.Web()
	if web == nil {
		return ""
	}
	address := web.String()
	if !strings.HasSuffix(address, ".git") {
		address += ".git"
	}
	return address + "/info/lfs"
}

// lfsAuthorization is as over https, also if git itself goes through ssh: then the token alone counts.
func (r *remote) lfsAuthorization() string {
	if r.ssh() {
		return basic(nil, r.access.Token)
	}
	return r.authorization()
}

// refusePointers searches what git archive would write for pointers: an archive must have the files themselves. This
// takes a second archive, so it is done only if the attributes of the tree name Git LFS.
func (c *Commit) refusePointers(ctx context.Context, a Archive) error {
	var names []string
	err := c.gitArchive(ctx, archiving{format: "tar", directory: a.Directory}, func(r io.Reader) (err error) {
		if names, err = pointers(r); err != nil {
			err = &damageError{fmt.Errorf("reading what git archive makes: %w", err)}
		}
		return err
	})
	if err != nil || len(names) == 0 {
		return err
	}
	hint := "set lfs: true of the project to have their content, commit the files themselves, " +
		"or mark those that the package does not need with export-ignore in .gitattributes"
	if a.Objects != nil { // then only a zip archive comes here
		hint = "name Source0 with .tar.gz or another suffix of tar: a zip archive with Git LFS files cannot be made"
	}
	return rpmflow.Fail(rpmflow.FailureSource, hint,
		"the archive of %s would have Git LFS pointers instead of files: %s", short(c.ID), printable.List(names, 20))
}

// pointers lists the files of a tar archive that are pointers of Git LFS.
func pointers(r io.Reader) (names []string, err error) {
	err = archive.ReadTar(r, func(e archive.Entry) error {
		if e.Typeflag != tar.TypeReg || e.Size >= MaxPointer {
			return nil
		}
		text, err := io.ReadAll(e.Content)
		if err == nil && IsPointer(text) {
			names = append(names, show(e.Name))
		}
		return err
	})
	return names, err
}

// filtered returns for which of the files git-lfs would write the content: their attributes decide, not how a file
// looks. A file whose content git would also change itself is refused.
func (c *Commit) filtered(ctx context.Context, index string, paths []string) (map[string]bool, error) {
	defer func() { _ = os.Remove(index) }() // in a directory that is removed
	env := []string{"GIT_DIR=" + c.dir, "GIT_INDEX_FILE=" + index}
	cmd := gitcmd.Command(ctx, "read-tree", c.object.TreeHash.String())
	cmd.Env = append(cmd.Env, env...)
	if _, _, err := gitcmd.Output(ctx, cmd); err != nil {
		return nil, damaged(err)
	}
	values, err := gitcmd.Attributes(ctx, "", env, paths, "--cached", "filter", "export-subst")
	if err != nil {
		return nil, damaged(err)
	}
	lfs := map[string]bool{}
	for _, path := range paths {
		lfs[path] = values["filter"][path] == "lfs"
		if lfs[path] && values["export-subst"][path] == "set" {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "remove one of the two attributes",
				"%s has both filter=lfs and export-subst: what Git LFS keeps is not changed", show(path))
		}
	}
	return lfs, nil
}
