package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// adopt checks a source package that nobody here has made, and names its file as rpmbuild would have: what the repository
// calls it may be fit for neither engine nor storage. path is its place in the repository, sources the directory of the files that it
// was made without.
func adopt(file, path, sources string) (string, error) {
	const hint = "commit a source package as rpmbuild -bs makes it"
	p, err := rpmfile.Package(file)
	switch {
	case errors.Is(err, rpmfile.ErrNotRPM):
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q is %v", path, rpmfile.ErrNotRPM)
	case err != nil:
		return "", err
	case p.Arch != "src":
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q is a binary package (%s), not a source package", path, p.NEVRA())
	}
	incomplete, err := rpmfile.Incomplete(file)
	if err != nil {
		return "", err
	}
	kind := "src"
	if incomplete {
		kind = "nosrc"
		left, err := rpmfile.LeftOut(file)
		if err != nil {
			return "", err
		}
		if len(left) == 0 || sources == "" {
			return "", rpmflow.Fail(rpmflow.FailureSource, "commit one that has all of its sources in it", "%q lacks sources: its spec says NoSource or NoPatch", path)
		}
	}
	name := fmt.Sprintf("%s-%s-%s.%s.rpm", p.Name, p.Version, p.Release, kind)
	if !packageName.MatchString(name) {
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q has the name %.100q, which no package can have", path, name)
	}
	renamed := filepath.Join(filepath.Dir(file), name)
	if err := os.Rename(file, renamed); err != nil {
		return "", fmt.Errorf("name the source package: %w", err)
	}
	return renamed, nil
}
