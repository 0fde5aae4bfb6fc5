package source

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/printable"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// findSpec takes the spec that is asked for, or the only one there is in the package's directory: in itself or in
// SPECS, else anywhere below.
func findSpec(ctx context.Context, tree git.Tree, at git.Entry, want string) (git.File, error) {
	w, onDisk := tree.(*worktree.Tree)
	if onDisk && w.Named() != "" {
		return w.NamedFile()
	}
	if want != "" {
		return specAt(tree, want)
	}
	specs, err := searchSpecs(ctx, tree, at, spec.IsSpec)
	if err == nil && len(specs) == 0 {
		specs, err = searchSpecs(ctx, tree, at, spec.IsTemplate)
	}
	if err != nil {
		return git.File{}, err
	}
	where := tree.Where()
	if at.Path != "" {
		where = " " + in(at) + where
	}
	hint := "set spec: in the project's configuration"
	if onDisk {
		hint = "name the spec itself: rpmflow build FILE.spec"
		if len(specs) == 0 {
			specs = ignoredSpecs(w)
		}
	}
	if len(specs) == 0 {
		return git.File{}, &nothingFound{rpmflow.Fail(rpmflow.FailureSource, "add one or "+hint, "no spec file%s",
			where)}
	}
	only, err := onlySpec(specs, where)
	if f := failureOf(err); f != nil {
		f.Hint = hint
	}
	return only, err
}

// searchSpecs lists the specs, or their templates, of the package's directory: those in itself and in SPECS, else those
// anywhere below.
func searchSpecs(ctx context.Context, tree git.Tree, at git.Entry,
	is func(name string) bool) (specs []git.File, err error) {
	add := func(f git.File) {
		// A link to the spec is not a second one; the spec itself is taken if there are both.
		i := slices.IndexFunc(specs, func(s git.File) bool { return s.Path == f.Path })
		switch {
		case i < 0:
			specs = append(specs, f)
		case f.Found == f.Path:
			specs[i] = f
		}
	}
	for _, dir := range []string{at.Path, path.Join(at.Path, "SPECS")} {
		files, err := git.Files(tree, dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if is(f.Name()) && is(f.Path) {
				add(f)
			}
		}
	}
	if len(specs) > 0 {
		return specs, nil
	}
	err = git.Walk(ctx, tree, at, func(e git.Entry) error {
		if !is(e.Name()) {
			return nil
		}
		f, ok, err := git.AsFile(tree, e)
		if ok && is(f.Path) {
			add(f)
		}
		return err
	})
	return ownSpecs(specs, at.Path), err
}

// othersDirs hold what others have written, or what tests and examples are made of.
var othersDirs = []string{
	"vendor", "vendored", "third_party", "third-party", "thirdparty", "3rdparty", "external", "extern", "deps",
	"subprojects", "node_modules", "test", "tests", "testing", "testdata", "fixtures", "example", "examples", "samples",
	"demo", "demos",
}

// ownSpecs are the specs of a tree that are not below such a directory, if there are any.
func ownSpecs(specs []git.File, top string) []git.File {
	own := slices.DeleteFunc(slices.Clone(specs), func(f git.File) bool {
		dir := strings.TrimPrefix(path.Dir(f.Path), top)
		return slices.ContainsFunc(strings.Split(dir, "/"),
			func(part string) bool { return slices.Contains(othersDirs, strings.ToLower(part)) })
	})
	if len(own) == 0 {
		return specs
	}
	return own
}

// onlySpec is the one of a list that is not to have more.
func onlySpec(specs []git.File, where string) (git.File, error) {
	if len(specs) == 1 {
		return specs[0], nil
	}
	var names []string
	for _, f := range specs {
		names = append(names, show(f.Path))
	}
	return git.File{}, rpmflow.Fail(rpmflow.FailureSource, "set spec: in the project's configuration",
		"%d spec files%s (%s)", len(specs), where, printable.List(names, 20))
}

func specAt(tree git.Tree, want string) (git.File, error) {
	if err := checkInside(want); err != nil {
		return git.File{}, err
	}
	name := path.Clean(want)
	f, found, err := git.FindFile(tree, name)
	if err == nil && !found {
		err = rpmflow.Fail(rpmflow.FailureSource, "correct spec: in the project's configuration, or add the file",
			"no spec file %s%s", show(name), tree.Where())
	}
	return f, err
}

// checkInside refuses a spec outside of the repository.
func checkInside(want string) error {
	if git.Outside(want) || path.Clean(want) == "." {
		return rpmflow.Fail(rpmflow.FailureSource, "set spec: to a path relative to the top of the repository",
			"spec %q is outside the repository", want)
	}
	return nil
}
