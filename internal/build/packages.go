package build

import (
	"errors"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// checkPackage refuses a file that is not a package, though the build has put it where rpmbuild puts packages.
func checkPackage(file string) error {
	const hint = "let only rpmbuild write into the directory RPMS, and name packages with letters, digits and . _ + " +
		"~ ^ -"
	name := filepath.Base(file)
	if !rpmfile.ValidName(name) {
		return rpmflow.Fail(rpmflow.FailureBuild, hint, "the build left a package with the name %.100q", name)
	}
	_, err := rpmfile.Package(file)
	if errors.Is(err, rpmfile.ErrNotRPM) {
		return rpmflow.Fail(rpmflow.FailureBuild, hint, "the build left %s, which is %v", name, rpmfile.ErrNotRPM)
	}
	return err
}
