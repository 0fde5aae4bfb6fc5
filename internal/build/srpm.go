package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	rpm "github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
)

// Tags of a source package that does not hold all of its sources (rpmtag.h).
const tagNoSource, tagNoPatch = 1051, 1052

// MadeAt is when a package was made, as its header has it.
func MadeAt(file string) (at time.Time, err error) {
	err = withHeader(file, func(h *rpm.RpmHeader) error {
		seconds, err := h.GetUint32s(rpm.BUILDTIME)
		if err == nil && len(seconds) != 1 {
			err = fmt.Errorf("%d build times", len(seconds))
		}
		if err == nil {
			at = time.Unix(int64(seconds[0]), 0).UTC()
		}
		return err
	})
	return at, err
}

// adopt checks a source package that nobody here has made, and names its file as rpmbuild would have: what the repository
// calls it may be fit for neither engine nor storage. path is its place in the repository.
func adopt(file, path string) (string, error) {
	const hint = "commit a source package as rpmbuild -bs makes it"
	p, err := ReadPackage(file)
	switch {
	case errors.Is(err, errNotRPM):
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q is %v", path, errNotRPM)
	case err != nil:
		return "", err
	case p.Arch != "src":
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q is a binary package (%s), not a source package", path, p.NEVRA())
	}
	incomplete := false
	err = withHeader(file, func(h *rpm.RpmHeader) error {
		incomplete = h.HasTag(tagNoSource) || h.HasTag(tagNoPatch)
		return nil
	})
	if err != nil {
		return "", err
	}
	if incomplete {
		return "", rpmflow.Fail(rpmflow.FailureSource, "commit one that has all of its sources in it", "%q lacks sources: its spec says NoSource or NoPatch", path)
	}
	name := fmt.Sprintf("%s-%s-%s.src.rpm", p.Name, p.Version, p.Release)
	if !packageName.MatchString(name) {
		return "", rpmflow.Fail(rpmflow.FailureSource, hint, "%q has the name %.100q, which no package can have", path, name)
	}
	renamed := filepath.Join(filepath.Dir(file), name)
	if err := os.Rename(file, renamed); err != nil {
		return "", fmt.Errorf("name the source package: %w", err)
	}
	return renamed, nil
}
