package git

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/archive"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/lfs"
	"github.com/rpmflow/rpmflow/internal/printable"
)

// LFSServer finds it as git-lfs does: .lfsconfig names it, else it is derived from the repository's URL. The
// project's credentials are for the project's own server only: anybody who may push writes .lfsconfig.
func (c *Commit) LFSServer(ctx context.Context) (*lfs.Server, error) {
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
		return &lfs.Server{Local: c.remote.path()}, nil
	}
	server := &lfs.Server{Endpoint: endpoint}
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
		if e.Typeflag != tar.TypeReg || e.Size >= lfs.MaxPointer {
			return nil
		}
		text, err := io.ReadAll(e.Content)
		if err == nil && lfs.IsPointer(text) {
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
	kept := map[string]bool{}
	for _, path := range paths {
		kept[path] = values["filter"][path] == "lfs"
		if kept[path] && values["export-subst"][path] == "set" {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "remove one of the two attributes",
				"%s has both filter=lfs and export-subst: what Git LFS keeps is not changed", show(path))
		}
	}
	return kept, nil
}
