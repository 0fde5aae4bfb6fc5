package git

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
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
	tags, err := gitcmd.Tags(ctx, "--git-dir="+c.dir)
	if err != nil {
		return nil, damaged(err)
	}
	v := gitcmd.View{Objects: filepath.Join(c.dir, "objects"), Shallow: filepath.Join(c.dir, "shallow"), Commit: c.ID,
		Tags: tags}
	if strings.HasPrefix(c.ref, "refs/heads/") && CheckRef(c.ref) == nil {
		v.Ref = c.ref
	}
	if err := v.Make(dir); err != nil {
		return nil, fmt.Errorf("making a repository for the archive: %w", err)
	}
	view := *c
	view.dir = dir
	return &view, nil
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
	out, err := gitcmd.Run(ctx, "--git-dir="+c.dir, "grep", "-z", "--name-only", "-I", "-E", "-e", signaturePattern,
		c.object.TreeHash.String())
	if err != nil || len(out) == 0 { // git grep fails if there is none
		return ctx.Err()
	}
	name, _, _ := strings.Cut(string(out), "\x00")
	_, name, _ = strings.Cut(name, ":")
	return SignatureRefused(name)
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
	return SignatureRefused(f.Path)
}

// SignatureRefused is the failure of a file with a placeholder for the state of a signature.
func SignatureRefused(name string) error {
	return rpmflow.Fail(rpmflow.FailureSource, "remove %G… from the file",
		"%s has a placeholder for the commit's signature in $Format:…$: what git would write there depends on the "+
			"keys that the machine trusts which makes the archive", show(name))
}
