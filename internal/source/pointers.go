package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// refusePointers looks through what git archive would make for files that Git LFS keeps elsewhere: a package of pointers is none.
// Only trees whose attributes speak of Git LFS are worth the second archive that this takes.
func (p *Prepared) refusePointers(ctx context.Context, snap *snapshot, at place) error {
	var names []string
	err := snap.gitArchive(ctx, archiving{format: "tar", directory: at.dir}, func(r io.Reader) (err error) {
		if names, err = pointers(r); err != nil {
			err = &damage{fmt.Errorf("reading what git archive makes: %w", err)}
		}
		return err
	})
	if err != nil || len(names) == 0 {
		return err
	}
	const most = 20
	list := strings.Join(names[:min(len(names), most)], ", ")
	if n := len(names) - most; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	hint := "set lfs: true of the project to have their content, commit the files themselves, or mark those that the package does not need with export-ignore in .gitattributes"
	if p.request.Sources.LFS { // then only a zip archive comes here
		hint = "name Source0 with .tar.gz or another suffix of tar: a zip archive with Git LFS files cannot be made"
	}
	return rpmflow.Fail(rpmflow.FailureSource, hint, "the archive of %s would have Git LFS pointers instead of files: %s", short(p.Commit), list)
}

// pointers lists the files of a tar archive that are pointers of Git LFS.
func pointers(archive io.Reader) (names []string, err error) {
	t := tar.NewReader(archive)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, archive) // the padding at the end, for which git would wait
			return names, err
		}
		if err != nil {
			return names, err
		}
		if h.Typeflag != tar.TypeReg || h.Size >= maxPointer {
			continue
		}
		text, err := io.ReadAll(t)
		if err != nil {
			return names, err
		}
		if isPointer(text) {
			names = append(names, show(h.Name))
		}
	}
}

// smudged tells which of the files git-lfs would put the content in the place of: its attributes decide, not how a file looks. A file whose
// content git would change once more is refused.
func (s *snapshot) smudged(ctx context.Context, index string, paths []string) (map[string]bool, error) {
	env := []string{"GIT_INDEX_FILE=" + index}
	defer func() { _ = os.Remove(index) }() // in a directory that is removed
	if _, err := runGitWith(ctx, env, nil, "--git-dir="+s.mirror, "read-tree", s.commit.TreeHash.String()); err != nil {
		return nil, s.trouble(ctx, err)
	}
	cmd := gitCommand(ctx, "--git-dir="+s.mirror, "check-attr", "--cached", "--stdin", "-z", "filter", "export-subst")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	errs := tail{max: 4 << 10}
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, s.trouble(ctx, childError(ctx, err, &errs))
	}
	fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	filtered, changed := map[string]bool{}, map[string]bool{}
	for f := range slices.Chunk(fields, 3) {
		if len(f) != 3 {
			return nil, fmt.Errorf("git check-attr says %q, which is not understood", f)
		}
		filtered[f[0]] = filtered[f[0]] || f[1] == "filter" && f[2] == "lfs"
		changed[f[0]] = changed[f[0]] || f[1] == "export-subst" && f[2] == "set"
	}
	for _, path := range paths {
		if filtered[path] && changed[path] {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "take one of both attributes away", "%s has filter=lfs and export-subst, too: what Git LFS keeps is not changed", show(path))
		}
	}
	return filtered, nil
}

// trouble is what a git command on the mirror had, which a new mirror has not; unless it was stopped.
func (s *snapshot) trouble(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return &damage{err}
}
