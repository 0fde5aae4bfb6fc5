package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// findSpec takes the spec that is asked for, or the only one there is in the package's directory: in itself or in SPECS, else anywhere below.
func findSpec(ctx context.Context, snap *snapshot, at place, want string) (file, error) {
	if snap.disk != nil && snap.disk.spec != "" {
		return snap.disk.namedSpec()
	}
	if want != "" {
		return specAt(snap, want)
	}
	specs, err := searchSpecs(ctx, snap, at, spec.IsSpec)
	if err == nil && len(specs) == 0 {
		specs, err = searchSpecs(ctx, snap, at, spec.IsTemplate)
	}
	if err != nil {
		return file{}, err
	}
	where := snap.where()
	if at.dir != "" {
		where = " " + at.in() + where
	}
	hint := "set spec: in the project's configuration"
	if snap.disk != nil {
		hint = "name the spec itself: rpmflow build FILE.spec"
		if len(specs) == 0 {
			specs = snap.disk.ignoredSpecs()
		}
	}
	if len(specs) == 0 {
		return file{}, &none{rpmflow.Fail(rpmflow.FailureSource, "add one or "+hint, "no spec file%s", where)}
	}
	only, err := onlySpec(specs, where)
	if f := failureOf(err); f != nil {
		f.Hint = hint
	}
	return only, err
}

// searchSpecs lists the specs, or their templates, of the package's directory: those in itself and in SPECS, else those anywhere below.
func searchSpecs(ctx context.Context, snap *snapshot, at place, is func(name string) bool) (specs []file, err error) {
	add := func(f file) {
		// A link to the spec is not a second one; the spec itself is taken where there are both.
		i := slices.IndexFunc(specs, func(s file) bool { return s.path == f.path })
		switch {
		case i < 0:
			specs = append(specs, f)
		case f.found() == f.path:
			specs[i] = f
		}
	}
	for _, dir := range []string{at.dir, path.Join(at.dir, "SPECS")} {
		files, err := snap.files(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if is(f.as) && is(f.path) {
				add(f)
			}
		}
	}
	if len(specs) > 0 {
		return specs, nil
	}
	err = snap.walk(ctx, at, func(dir string, e object.TreeEntry) error {
		if !is(e.Name) {
			return nil
		}
		f, ok, err := snap.file(dir, e)
		if ok && is(f.path) {
			add(f)
		}
		return err
	})
	return ownSpecs(specs, at.dir), err
}

// othersDirs hold what others have written, or what tests and examples are made of.
var othersDirs = []string{"vendor", "vendored", "third_party", "third-party", "thirdparty", "3rdparty", "external", "extern", "deps", "subprojects", "node_modules",
	"test", "tests", "testing", "testdata", "fixtures", "example", "examples", "samples", "demo", "demos"}

// ownSpecs are the specs of a tree that are not below such a directory, if there are any.
func ownSpecs(specs []file, top string) []file {
	own := slices.DeleteFunc(slices.Clone(specs), func(f file) bool {
		dir := strings.TrimPrefix(path.Dir(f.path), top)
		return slices.ContainsFunc(strings.Split(dir, "/"), func(part string) bool { return slices.Contains(othersDirs, strings.ToLower(part)) })
	})
	if len(own) == 0 {
		return specs
	}
	return own
}

// onlySpec is the one of a list that is not to have more.
func onlySpec(specs []file, where string) (file, error) {
	if len(specs) == 1 {
		return specs[0], nil
	}
	const most = 20
	var names []string
	for _, f := range specs[:min(len(specs), most)] {
		names = append(names, show(f.path))
	}
	list := strings.Join(names, ", ")
	if n := len(specs) - most; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	return file{}, rpmflow.Fail(rpmflow.FailureSource, "set spec: in the project's configuration", "%d spec files%s (%s)", len(specs), where, list)
}

func specAt(snap *snapshot, want string) (file, error) {
	if err := checkInside(want); err != nil {
		return file{}, err
	}
	name := path.Clean(want)
	e, real, err := snap.find(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return file{}, err
	}
	if err != nil || (e.Mode != filemode.Regular && e.Mode != filemode.Executable) {
		return file{}, rpmflow.Fail(rpmflow.FailureSource, "correct spec: in the project's configuration, or add the file",
			"no spec file %s%s", show(name), snap.where())
	}
	return file{path: real, as: path.Base(name), named: name, mode: e.Mode, hash: e.Hash}, nil
}

// checkInside refuses a spec outside of the repository.
func checkInside(want string) error {
	if outside(want) || path.Clean(want) == "." {
		return rpmflow.Fail(rpmflow.FailureSource, "set spec: to a path relative to the top of the repository", "spec %q lies outside the repository", want)
	}
	return nil
}
