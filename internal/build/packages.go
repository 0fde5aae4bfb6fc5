package build

import (
	"errors"
	"path/filepath"
	"regexp"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// packageName is what a package's file may be called to be stored, fetched and put into a repository under that name.
var packageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~^%=,:@-]{0,240}\.rpm$`)

// checkPackage refuses what a build has put where rpmbuild puts packages.
func checkPackage(file string) error {
	const hint = "let rpmbuild alone write into the directory RPMS, and name packages with letters, digits and . _ + ~ ^ -"
	name := filepath.Base(file)
	if !packageName.MatchString(name) {
		return rpmflow.Fail(rpmflow.FailureBuild, hint, "the build left a package with the name %.100q", name)
	}
	_, err := rpmfile.Package(file)
	if errors.Is(err, rpmfile.ErrNotRPM) {
		return rpmflow.Fail(rpmflow.FailureBuild, hint, "the build left %s, which is %v", name, rpmfile.ErrNotRPM)
	}
	return err
}
