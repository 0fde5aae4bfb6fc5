// Package rpmfile reads what an RPM or an SRPM says about itself: its name and version, what it requires, whether it is
// complete.
//
// Files and streams come in, which may hold anything; values and errors go out, and ErrNotRPM for what is not a
// package. It imports the domain only, and alone knows the library that reads headers; every package may import it.
package rpmfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	rpm "github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
)

// Tags of rpmtag.h. The first is set in the header of an SRPM alone, whose arch tag names the machine that made it; the
// others in that of one that does not hold all of its sources.
const tagSourcePackage, tagNoSource, tagNoPatch = 1106, 1051, 1052

// fileName is what the file of a package may be called to be stored, fetched and put into a repository under that name.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~^%=,:@-]*\.rpm$`)

// ValidName reports whether the file of a package may have this name.
func ValidName(name string) bool { return len(name) <= 245 && fileName.MatchString(name) }

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
			return fmt.Errorf("%d requirements with %d versions and %d comparisons", len(names), len(versions),
				len(flags))
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

// Incomplete reports whether a source package lacks some of its sources: its spec has NoSource or NoPatch.
func Incomplete(file string) (incomplete bool, err error) {
	err = Header(file, func(h *rpm.RpmHeader) error {
		incomplete = h.HasTag(tagNoSource) || h.HasTag(tagNoPatch)
		return nil
	})
	return incomplete, err
}

// LeftOut names the sources and patches that a source package was made without. They are in its list of files as those
// of ghosts.
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

// NEVRA is the full name of a package.
type NEVRA struct {
	Name    string
	Epoch   int
	Version string
	Release string
	Arch    string // "src" for an SRPM
}

// String is name-[epoch:]version-release.arch, as dnf writes it.
func (n NEVRA) String() string { return rpmflow.Package(n).NEVRA() }

// Package reads the NEVRA from a package's header.
func Package(file string) (p NEVRA, err error) {
	err = Header(file, func(header *rpm.RpmHeader) error {
		p, err = packageOf(header)
		return err
	})
	return p, err
}

func packageOf(header *rpm.RpmHeader) (NEVRA, error) {
	n, err := header.GetNEVRA()
	if err != nil {
		return NEVRA{}, err
	}
	epoch := 0
	if n.Epoch != "" {
		if epoch, err = strconv.Atoi(n.Epoch); err != nil {
			return NEVRA{}, fmt.Errorf("epoch: %w", err)
		}
	}
	p := NEVRA{Name: n.Name, Epoch: epoch, Version: n.Version, Release: n.Release, Arch: n.Arch}
	if header.HasTag(tagSourcePackage) {
		p.Arch = "src"
	}
	return p, nil
}

// Name reads a package's name from the beginning of a stream, and no more of it than the headers. It is "" if there is
// none that can be read: the header's is not a package's, is larger than 16 MiB, or the name has more than 128 bytes.
func Name(r io.Reader) (name string) {
	const maxHeader, maxName = 16 << 20, 128
	err := readHeader(r, maxHeader, func(h *rpm.RpmHeader) error {
		names, err := h.GetStrings(rpm.NAME)
		if err == nil && len(names) == 1 && len(names[0]) <= maxName && utf8.ValidString(names[0]) {
			name = names[0]
		}
		return err
	})
	if err != nil {
		return ""
	}
	return name
}

// ErrNotRPM means that a file is not what its name promises.
var ErrNotRPM = errors.New("not a valid RPM")

// maxHeader is rpm's own bound (headerCheck).
const maxHeader = 256 << 20

// Texts are the values of a header's tags of texts (rpmtag.h), of those that it has.
func Texts(file string, tags ...int) (map[int][]string, error) {
	texts := map[int][]string{}
	err := Header(file, func(h *rpm.RpmHeader) (err error) {
		for _, tag := range tags {
			if err == nil && h.HasTag(tag) {
				texts[tag], err = h.GetStrings(tag)
			}
		}
		return err
	})
	return texts, err
}

// Header hands a package's header to read.
func Header(file string, read func(*rpm.RpmHeader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("read package: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := headerOf(f, read); err != nil {
		return fmt.Errorf("read package %s: %w", file, err)
	}
	return nil
}

// headerOf is Header for a stream, of which no more than the headers is read.
func headerOf(r io.Reader, read func(*rpm.RpmHeader) error) error {
	const maxHeader = 256 << 20 // rpm's own bound (headerCheck)
	if err := readHeader(r, maxHeader, read); err != nil {
		return fmt.Errorf("%w: %w", ErrNotRPM, err)
	}
	return nil
}

// readHeader hands the header at the beginning of a package to read. A package is foreign input: a file that is not
// what it seems is an error, though the library checks no length or offset in it.
func readHeader(r io.Reader, maxData int64, read func(*rpm.RpmHeader) error) (err error) {
	head, err := readHead(r, maxData)
	if err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	header, err := rpm.ReadHeader(io.MultiReader(bytes.NewReader(head.Lead), bytes.NewReader(head.Signature),
		bytes.NewReader(head.Header)))
	if err != nil {
		return err
	}
	return read(header)
}

// Head is what a package begins with, as it stands in the file ("RPM Package File Structure" in rpm's documentation).
// Its parts follow one another. What is in them is not checked.
type Head struct {
	Lead      []byte // 96 bytes
	Signature []byte // the header with digests and signatures, padded to 8 bytes
	Header    []byte // the header proper, which the digests and signatures are of
}

// ReadHead reads what a package begins with, and nothing of its payload. An error is an ErrNotRPM, or one of reading.
func ReadHead(r io.Reader) (Head, error) {
	head, err := readHead(r, maxHeader)
	if errors.Is(err, io.EOF) || errors.Is(err, errTooLarge) {
		err = fmt.Errorf("%w: %w", ErrNotRPM, err)
	}
	return head, err
}

var errTooLarge = errors.New("more than rpm allows")

// readHead takes memory for what is there, not for what a length says.
func readHead(r io.Reader, maxData int64) (Head, error) {
	const lead, intro, entry, maxTags = 96, 16, 16, 0xffff // of tags rpm allows 64 Ki (headerCheck)
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, lead); err != nil {
		return Head{}, fmt.Errorf("lead: %w", err)
	}
	header := 0 // where the last one begins
	for _, padding := range []int64{8, 1} {
		header = b.Len()
		if _, err := io.CopyN(&b, r, intro); err != nil {
			return Head{}, fmt.Errorf("header at %d: %w", header, err)
		}
		sizes := b.Bytes()[header+8:]
		tags, data := int64(binary.BigEndian.Uint32(sizes)), int64(binary.BigEndian.Uint32(sizes[4:]))
		if tags > maxTags || data > maxData {
			return Head{}, fmt.Errorf("header at %d: %d tags in %d bytes: %w", header, tags, data, errTooLarge)
		}
		if _, err := io.CopyN(&b, r, tags*entry+(data+padding-1)/padding*padding); err != nil {
			return Head{}, fmt.Errorf("header of %d tags in %d bytes: %w", tags, data, err)
		}
	}
	raw := b.Bytes()
	return Head{Lead: raw[:lead:lead], Signature: raw[lead:header:header], Header: raw[header:]}, nil
}
