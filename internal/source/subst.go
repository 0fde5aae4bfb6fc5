package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// asCheckedOut makes a repository in dir in which the commit is checked out as the ref that was pushed, with the repository's tags and no other
// refs, and gives a snapshot of it that git archive can be run on. The mirror has refs of its own, which $Format:%d$ would name, and no
// HEAD, from which git reads .mailmap in a bare repository.
func (s *snapshot) asCheckedOut(ctx context.Context, dir, ref string) (*snapshot, error) {
	view, err := s.viewAs(ctx, dir, ref)
	if err != nil {
		return nil, err
	}
	return view, s.refuseSignatures(ctx)
}

// viewAs is asCheckedOut of a commit whose placeholders are not looked at.
func (s *snapshot) viewAs(ctx context.Context, dir, ref string) (*snapshot, error) {
	commit := s.commit.Hash.String()
	tags, err := runGit(ctx, "--git-dir="+s.mirror, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
	if err != nil {
		return nil, s.trouble(ctx, err)
	}
	head := commit
	files := map[string]string{
		"config":                  "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
		"objects/info/alternates": filepath.Join(s.mirror, "objects") + "\n",
		"packed-refs":             "# pack-refs with: sorted \n" + string(tags),
	}
	if strings.HasPrefix(ref, "refs/heads/") && checkRef(ref) == nil {
		head = "ref: " + ref
		files[ref] = commit + "\n"
	}
	files["HEAD"] = head + "\n"
	if err := os.MkdirAll(filepath.Join(dir, "refs"), 0o700); err != nil {
		return nil, fmt.Errorf("making a repository for the archive: %w", err)
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			return nil, fmt.Errorf("making a repository for the archive: %w", err)
		}
	}
	if err := copyIfThere(filepath.Join(s.mirror, "shallow"), filepath.Join(dir, "shallow")); err != nil {
		return nil, fmt.Errorf("making a repository for the archive: %w", err)
	}
	view := *s
	view.mirror = dir
	return &view, nil
}

// refuseSignatures refuses placeholders for the state of a signature. What git puts in their place depends on the keys that whoever makes the
// archive trusts, so ours would be another one than the packager's, and another one on the next builder.
func (s *snapshot) refuseSignatures(ctx context.Context) error {
	if s.commit.PGPSignature == "" {
		return nil
	}
	out, err := runGit(ctx, "--git-dir="+s.mirror, "grep", "-z", "--name-only", "-I", "-E", "-e", ofSignature, s.commit.TreeHash.String())
	if err != nil || len(out) == 0 { // git grep fails where there is none
		return ctx.Err()
	}
	name, _, _ := strings.Cut(string(out), "\x00")
	_, name, _ = strings.Cut(name, ":")
	return signaturePlaceholder(name)
}

// ofSignature is such a placeholder, in Go's and in grep's language alike.
const ofSignature = `\$Format:[^$]*%G[GKSFPT?]`

func signaturePlaceholder(name string) error {
	return rpmflow.Fail(rpmflow.FailureSource, "take %G… out of the file",
		"%s has a placeholder for the commit's signature in $Format:…$: what git would write there depends on the keys that whoever makes the archive trusts", show(name))
}

// copyIfThere copies a file with its time; one that is not there leaves none.
func copyIfThere(from, to string) (err error) {
	in, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	info, serr := in.Stat()
	if err = errors.Join(err, serr, out.Close()); err == nil {
		err = os.Chtimes(to, info.ModTime(), info.ModTime())
	}
	return err
}
