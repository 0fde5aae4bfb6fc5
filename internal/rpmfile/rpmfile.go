// Package rpmfile reads what an RPM or an SRPM says about itself: its name and version, what it requires, whether it is whole.
//
// Files come in, which may hold anything; values and errors go out, and ErrNotRPM for what is not a package. It knows the
// domain's words only, and every package may import it.
package rpmfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	rpm "github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
)

// Tags of rpmtag.h. The first is set in the header of an SRPM alone, whose arch tag names the machine that made it; the others
// in that of one that does not hold all of its sources.
const tagSourcePackage, tagNoSource, tagNoPatch = 1106, 1051, 1052

// fileName is what the file of a package may be called to be stored, fetched and put into a repository under that name.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~^%=,:@-]{0,240}\.rpm$`)

// ValidName reports whether the file of a package may have this name.
func ValidName(name string) bool { return fileName.MatchString(name) }

// Requires lists what a package requires, an SRPM its BuildRequires: names, with the versions that are asked for.
func Requires(file string) (requires []string, err error) {
	err = Header(file, func(header *rpm.RpmHeader) error {
		if !header.HasTag(rpm.REQUIRENAME) {
			return nil
		}
		names, err := header.GetStrings(rpm.REQUIRENAME)
		if err != nil {
			return err
		}
		versions, err := header.GetStrings(rpm.REQUIREVERSION)
		if err != nil {
			return err
		}
		flags, err := header.GetUint32s(rpm.REQUIREFLAGS)
		if err != nil {
			return err
		}
		if len(versions) != len(names) || len(flags) != len(names) {
			return fmt.Errorf("%d requirements with %d versions and %d comparisons", len(names), len(versions), len(flags))
		}
		for i, name := range names {
			requires = append(requires, requirement(name, flags[i], versions[i]))
		}
		return nil
	})
	return requires, err
}

// requirement writes a requirement as rpm does; the bits of the comparison are those of rpmds.h.
func requirement(name string, flags uint32, version string) string {
	op := ""
	for _, o := range []struct {
		bit  uint32
		sign string
	}{{1 << 1, "<"}, {1 << 2, ">"}, {1 << 3, "="}} {
		if flags&o.bit != 0 {
			op += o.sign
		}
	}
	if op == "" {
		return name
	}
	return name + " " + op + " " + version
}

// MadeAt is when a package was made, as its header has it.
func MadeAt(file string) (at time.Time, err error) {
	err = Header(file, func(h *rpm.RpmHeader) error {
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

// Incomplete says whether a source package lacks some of its sources: its spec has NoSource or NoPatch.
func Incomplete(file string) (incomplete bool, err error) {
	err = Header(file, func(h *rpm.RpmHeader) error {
		incomplete = h.HasTag(tagNoSource) || h.HasTag(tagNoPatch)
		return nil
	})
	return incomplete, err
}

// LeftOut names the sources and patches that a source package was made without. They are in its list of files as those of ghosts.
func LeftOut(file string) (names []string, err error) {
	err = Header(file, func(h *rpm.RpmHeader) error {
		if !h.HasTag(tagNoSource) && !h.HasTag(tagNoPatch) || !h.HasTag(rpm.BASENAMES) || !h.HasTag(rpm.FILEFLAGS) {
			return nil
		}
		all, err := h.GetStrings(rpm.BASENAMES)
		if err != nil {
			return err
		}
		flags, err := h.GetUint32s(rpm.FILEFLAGS)
		if err != nil {
			return err
		}
		if len(flags) != len(all) {
			return fmt.Errorf("%d files with %d flags", len(all), len(flags))
		}
		for i, name := range all {
			if flags[i]&rpm.RPMFILE_GHOST == 0 {
				continue
			}
			if name != filepath.Base(name) || name == ".." || name == "." {
				return fmt.Errorf("a file with the name %.100q", name)
			}
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// Package reads the NEVRA from a package's header.
func Package(file string) (p rpmflow.Package, err error) {
	err = Header(file, func(header *rpm.RpmHeader) error {
		n, err := header.GetNEVRA()
		if err != nil {
			return err
		}
		epoch := 0
		if n.Epoch != "" {
			if epoch, err = strconv.Atoi(n.Epoch); err != nil {
				return fmt.Errorf("epoch: %w", err)
			}
		}
		p = rpmflow.Package{Name: n.Name, Epoch: epoch, Version: n.Version, Release: n.Release, Arch: n.Arch}
		if header.HasTag(tagSourcePackage) {
			p.Arch = "src"
		}
		return nil
	})
	return p, err
}

// ErrNotRPM says that a file is not what its name promises.
var ErrNotRPM = errors.New("not a valid RPM")

// Header hands a package's header to read. What a package's build has left is foreign input: a file that is not what it
// seems gives an error, though the library believes every length and offset in it.
func Header(file string, read func(*rpm.RpmHeader) error) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := checkHeaders(f); err != nil {
		return fmt.Errorf("read package %s: %w: %w", file, ErrNotRPM, err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read package %s: %w: %v", file, ErrNotRPM, r)
		}
	}()
	header, err := rpm.ReadHeader(f)
	if err != nil {
		return fmt.Errorf("read package %s: %w: %w", file, ErrNotRPM, err)
	}
	if err := read(header); err != nil {
		return fmt.Errorf("read package %s: %w: %w", file, ErrNotRPM, err)
	}
	return nil
}

// checkHeaders checks that the two headers at the beginning of a package are no longer than rpm allows (headerCheck: 64 Ki
// tags, 256 MiB) and than the file: memory for them is taken before they are read.
func checkHeaders(f io.ReaderAt) error {
	const lead, intro, maxTags, maxData = 96, 16, 0xffff, 256 << 20
	at := int64(lead)
	for range 2 {
		var b [intro]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return fmt.Errorf("header at %d: %w", at, err)
		}
		tags, data := int64(binary.BigEndian.Uint32(b[8:])), int64(binary.BigEndian.Uint32(b[12:]))
		if tags > maxTags || data > maxData {
			return fmt.Errorf("header at %d: %d tags in %d bytes", at, tags, data)
		}
		at += intro + tags*16 + data
		if data > 0 || tags > 0 {
			if _, err := f.ReadAt(b[:1], at-1); err != nil {
				return fmt.Errorf("header of %d tags in %d bytes: %w", tags, data, err)
			}
		}
		at = (at + 7) / 8 * 8 // the second begins there; 96 and 16 are multiples of 8
	}
	return nil
}
