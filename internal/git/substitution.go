package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// forSubstitution is checkedOut, for an archive whose files have placeholders.
func (c *Commit) forSubstitution(ctx context.Context, dir string) (*Commit, error) {
	view, err := c.checkedOut(ctx, dir)
	if err != nil {
		return nil, err
	}
	return view, c.refuseSignatures(ctx)
}

// checkedOut makes a repository in dir in which the commit is checked out as the ref that was pushed, with the
// repository's tags and no other refs, and returns the commit in it, for git archive. The mirror has refs of its own,
// which $Format:%d$ would name, and no HEAD, from which git reads .mailmap in a bare repository.
func (c *Commit) checkedOut(ctx context.Context, dir string) (*Commit, error) {
	tags, err := runGit(ctx, "--git-dir="+c.dir, "for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
	if err != nil {
		return nil, runError(ctx, err)
	}
	files := map[string]string{
		"config":                  "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
		"objects/info/alternates": filepath.Join(c.dir, "objects") + "\n",
		"packed-refs":             packedRefs(tags),
		"HEAD":                    c.ID + "\n",
	}
	if strings.HasPrefix(c.ref, "refs/heads/") && checkRef(c.ref) == nil {
		files["HEAD"], files[c.ref] = "ref: "+c.ref+"\n", c.ID+"\n"
	}
	if err := makeView(dir, files, filepath.Join(c.dir, "shallow")); err != nil {
		return nil, fmt.Errorf("making a repository for the archive: %w", err)
	}
	view := *c
	view.dir = dir
	return &view, nil
}

func packedRefs(tags []byte) string { return "# pack-refs with: sorted \n" + string(tags) }

// makeView makes a repository of these files, and of the list of commits without parents that another one has.
func makeView(dir string, files map[string]string, shallow string) error {
	if err := os.MkdirAll(filepath.Join(dir, "refs"), 0o700); err != nil {
		return err
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600))
		if err != nil {
			return err
		}
	}
	return copyIfThere(shallow, filepath.Join(dir, "shallow"))
}

// copyIfThere copies a file with its time; if there is none, nothing happens.
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

// signaturePattern is a placeholder for the state of a signature, in the language of Go and of grep alike.
const signaturePattern = `\$Format:[^$]*%G[GKSFPT?]`

var signaturePlaceholder = regexp.MustCompile(signaturePattern)

// refuseSignatures refuses placeholders for the state of a signature. What git writes for them depends on the keys
// that the machine trusts, so it would be something else than on the packager's machine, and on the next builder.
func (c *Commit) refuseSignatures(ctx context.Context) error {
	if c.object.PGPSignature == "" {
		return nil
	}
	out, err := runGit(ctx, "--git-dir="+c.dir, "grep", "-z", "--name-only", "-I", "-E", "-e", signaturePattern,
		c.object.TreeHash.String())
	if err != nil || len(out) == 0 { // git grep fails if there is none
		return ctx.Err()
	}
	name, _, _ := strings.Cut(string(out), "\x00")
	_, name, _ = strings.Cut(name, ":")
	return signatureRefused(name)
}

// refuseSignature is refuseSignatures of one file.
func (c *Commit) refuseSignature(f File) error {
	if c.object.PGPSignature == "" {
		return nil
	}
	text, err := c.head(f.id, 1<<20)
	if err != nil || !signaturePlaceholder.Match(text) {
		return err
	}
	return signatureRefused(f.Path)
}

func signatureRefused(name string) error {
	return rpmflow.Fail(rpmflow.FailureSource, "remove %G… from the file",
		"%s has a placeholder for the commit's signature in $Format:…$: what git would write there depends on the "+
			"keys that "+
			"the machine trusts which makes the archive", show(name))
}
