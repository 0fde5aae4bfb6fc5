package build

import (
	"fmt"
	"os"
	"strconv"

	rpm "github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
)

// tagSourcePackage is set in the header of an SRPM alone, whose arch tag names the machine that made it (rpmtag.h).
const tagSourcePackage = 1106

// ReadPackage reads the NEVRA from a package's header.
func ReadPackage(file string) (rpmflow.Package, error) {
	f, err := os.Open(file)
	if err != nil {
		return rpmflow.Package{}, fmt.Errorf("read package: %w", err)
	}
	defer func() { _ = f.Close() }()
	header, err := rpm.ReadHeader(f)
	if err != nil {
		return rpmflow.Package{}, fmt.Errorf("read package %s: not a valid RPM: %w", file, err)
	}
	n, err := header.GetNEVRA()
	if err != nil {
		return rpmflow.Package{}, fmt.Errorf("read package %s: %w", file, err)
	}
	p := rpmflow.Package{Name: n.Name, Version: n.Version, Release: n.Release, Arch: n.Arch}
	if p.Epoch, err = strconv.Atoi(n.Epoch); err != nil && n.Epoch != "" {
		return rpmflow.Package{}, fmt.Errorf("read package %s: epoch: %w", file, err)
	}
	if header.HasTag(tagSourcePackage) {
		p.Arch = "src"
	}
	return p, nil
}
