package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/source"
)

// Input is what a user wants to have built.
type Input struct {
	kind inputKind
	path string // on this machine: of a directory, a spec or a source package
	url  string // of a repository or a source package
	git  giturl.URL
	ref  string
}

type inputKind int

const (
	inputTree inputKind = iota
	inputSpec
	inputSRPM
	inputGit
	inputRemote // a source package somewhere else
)

// ParseInput reads what to build: a directory, a spec, a source package, its URL, or a git repository's, with #
// and a branch, tag or commit behind it. A path that is there is that path, even if it looks like a URL.
func ParseInput(arg string) (Input, error) {
	info, err := os.Stat(arg)
	switch {
	case err == nil && info.IsDir():
		if bare(arg) {
			return gitInput(arg, "")
		}
		return Input{kind: inputTree, path: arg}, nil
	case err == nil && info.Mode().IsRegular() && strings.HasSuffix(arg, ".spec"):
		return Input{kind: inputSpec, path: arg}, nil
	case err == nil && info.Mode().IsRegular() && isSRPM(arg):
		return Input{kind: inputSRPM, path: arg}, nil
	case err == nil:
		return Input{}, fmt.Errorf("%s is neither a directory nor a spec nor a source package: name a directory, "+
			"FILE.spec or FILE.src.rpm", arg)
	case !errors.Is(err, fs.ErrNotExist) && !strings.Contains(arg, ":"):
		return Input{}, err
	}
	place, ref, _ := strings.Cut(arg, "#")
	if u, uerr := url.Parse(place); uerr == nil && u.Scheme != "" && u.Host != "" && isSRPM(u.Path) {
		return Input{kind: inputRemote, url: place}, nil
	}
	u, uerr := giturl.Parse(place)
	info, derr := os.Stat(place)
	if uerr == nil && !u.Local() || strings.Contains(place, "://") ||
		derr == nil && info.IsDir() && place != arg { // ../repository#branch
		return gitInput(place, ref)
	}
	if uerr != nil {
		return Input{}, fmt.Errorf("%s: there is no such file or directory, and it is not the URL of a repository: %w",
			giturl.Redact(arg), uerr)
	}
	return Input{}, fmt.Errorf("%s: there is no such file or directory, and it is not the URL of a repository", arg)
}

// ParseSRPM reads which source package is to be built. Its URL need not end as one does.
func ParseSRPM(arg string) (Input, error) {
	if u, err := url.Parse(arg); err == nil && u.Host != "" && slices.Contains([]string{"http", "https", "ftp"},
		u.Scheme) {
		return Input{kind: inputRemote, url: arg}, nil
	}
	in, err := ParseInput(arg)
	if err == nil && !in.IsSRPM() {
		err = fmt.Errorf("%s is not a source package: name FILE.src.rpm or its URL, or use rpmflow build", arg)
	}
	return in, err
}

func gitInput(place, ref string) (Input, error) {
	if !strings.Contains(place, ":") || strings.HasPrefix(place, "/") {
		abs, err := filepath.Abs(place)
		if err != nil {
			return Input{}, err
		}
		place = abs
	}
	u, _ := giturl.Parse(place) // what cannot be parsed is refused when it is to be fetched
	return Input{kind: inputGit, url: place, git: u, ref: ref}, nil
}

// bare reports whether a directory is a repository without a working tree.
func bare(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// isSRPM also takes a package without all its sources: a local build finds them next to it.
func isSRPM(name string) bool { return rpmflow.IsSRPM(name) || strings.HasSuffix(name, ".nosrc.rpm") }

// IsSRPM reports whether it is a source package.
func (in Input) IsSRPM() bool { return in.kind == inputSRPM || in.kind == inputRemote }

// access is the user's credentials, for the repository whose URL has them.
func (in Input) access(asked giturl.URL) (a git.Access) {
	if asked.SameServer(in.git) && asked.Same(in.git) {
		a.User = in.git.User
	}
	return a
}

// Name is what the build's record calls the project.
func (in Input) Name() string {
	name := in.path
	switch in.kind {
	case inputRemote:
		name = in.remoteName()
	case inputGit:
		name = cmp.Or(in.git.Name(), in.git.Host)
	}
	if name == "" {
		return "local"
	}
	if abs, err := filepath.Abs(name); err == nil {
		name = filepath.Base(abs)
	}
	for _, suffix := range []string{".spec", ".nosrc.rpm", ".src.rpm", ".srpm"} {
		name = strings.TrimSuffix(name, suffix)
	}
	name = strings.Map(func(c rune) rune {
		if c < 0x80 && (c == '.' || c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' &&
			c <= 'Z') {
			return c
		}
		return '-'
	}, name)
	if name = strings.Trim(name, "-._"); rpmflow.CheckProjectName(name) != nil {
		return "local"
	}
	return name
}

// remoteName is the last part of a source package's URL.
func (in Input) remoteName() string {
	u, err := url.Parse(in.url)
	if err != nil || path.Base(u.Path) == "/" || path.Base(u.Path) == "." {
		return "package.src.rpm"
	}
	return path.Base(u.Path)
}

// sources gives the build its sources, as package source does for a server.
type sources struct {
	*source.Store
	in       Input
	dir      string              // for what is asked about a working tree
	checksum []checksum.Checksum // of a source package
}

// Prepare implements build.Sources.
func (s *sources) Prepare(ctx context.Context, req source.Request, dir string) (*source.Draft, error) {
	switch s.in.kind {
	case inputGit:
		return s.Store.Prepare(ctx, req, dir)
	case inputSRPM:
		return s.adopt(ctx, dir)
	case inputRemote:
		return s.download(ctx, dir)
	}
	tree, err := worktree.Open(ctx, s.in.path, filepath.Join(s.dir, "tree"))
	if err != nil {
		return nil, err
	}
	req.WorkTree, req.Ref, req.Commit = tree, tree.Ref(), tree.Commit()
	return s.Store.Prepare(ctx, req, dir)
}
