package fetch

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/printable"
)

const (
	maxList   = 1 << 20 // bytes of a list
	maxListed = 10_000  // its entries
)

// Listed is a file that a dist-git repository keeps elsewhere.
type Listed struct {
	Name     string
	Checksum checksum.Checksum
}

// bsdLine is a line of Fedora's list as rpkg writes it today: SHA512 (file) = digest.
var bsdLine = regexp.MustCompile(`^([A-Za-z0-9]+) \((.+)\) = ([0-9A-Fa-f]+)$`)

// parseSources reads Fedora's list, whose old form has the MD5 checksum before the name.
func parseSources(list string, text []byte) ([]Listed, error) {
	return parseList(list, text, func(line string) (Listed, error) {
		if m := bsdLine.FindStringSubmatch(line); m != nil {
			sum, err := checksum.New(m[1], m[3])
			return Listed{m[2], sum}, err
		}
		return digestAndName(line)
	})
}

// parseMetadata reads CentOS's list: a digest, whose length tells the algorithm, and a path below SOURCES.
func parseMetadata(list string, text []byte) ([]Listed, error) {
	return parseList(list, text, func(line string) (Listed, error) {
		l, err := digestAndName(line)
		l.Name = strings.TrimPrefix(strings.TrimPrefix(l.Name, "./"), "SOURCES/")
		return l, err
	})
}

func digestAndName(line string) (Listed, error) {
	digest, name, ok := strings.Cut(line, " ")
	if name = strings.TrimLeft(name, " *"); !ok || name == "" { // md5sum marks binary files with a star
		return Listed{}, fmt.Errorf("%.80q is not a checksum with a file's name", line)
	}
	sum, err := checksum.Of(digest)
	return Listed{name, sum}, err
}

func parseList(list string, text []byte, parse func(line string) (Listed, error)) ([]Listed, error) {
	refuse := func(n int, err error) error {
		return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: fmt.Sprintf("%s, line %d", printable.Name(list),
			n),
			Err:  err,
			Hint: "write the list with fedpkg, centpkg or a similar tool"}
	}
	if len(text) >= maxList {
		return nil, refuse(1, fmt.Errorf("the list has more than %d bytes", maxList))
	}
	var all []Listed
	by := map[string]checksum.Checksum{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		l, err := parse(line)
		if err == nil {
			err = checksum.CheckFileName(l.Name)
		}
		if before, twice := by[l.Name]; err == nil && twice && before != l.Checksum {
			err = fmt.Errorf("%s is there twice, with the checksums %s and %s", printable.Name(l.Name), before,
				l.Checksum)
		} else if twice {
			continue
		}
		if len(all) >= maxListed && err == nil {
			err = fmt.Errorf("more than %d files", maxListed)
		}
		if err != nil {
			return nil, refuse(n, err)
		}
		by[l.Name] = l.Checksum
		all = append(all, l)
	}
	return all, nil
}

// looksLikeList distinguishes dist-git's list from any other file that is called sources: its first line decides.
func looksLikeList(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			if bsdLine.MatchString(line) {
				return true
			}
			_, err := digestAndName(line)
			return err == nil
		}
	}
	return true // empty: nothing is kept elsewhere
}

// isMetadata reports whether a file has the name of CentOS's list, and returns the package that is part of it.
func isMetadata(name string) (pkg string, ok bool) {
	pkg, ok = strings.CutSuffix(name, ".metadata")
	pkg, dot := strings.CutPrefix(pkg, ".")
	return pkg, ok && dot && pkg != ""
}

// IsList reports whether a file may be a list by its name: sources, or .PACKAGE.metadata.
func IsList(name string) bool {
	_, is := isMetadata(name)
	return is || name == "sources"
}

// ListReader reads the beginning of one of the lists.
type ListReader func(name string, max int64) ([]byte, error)

// FindLists picks the lists from the files next to a spec: sources, and .PACKAGE.metadata, of which the spec's own is
// taken if there are several.
func FindLists(names []string, read ListReader, spec string) ([]string, error) {
	own := "." + strings.TrimSuffix(path.Base(spec), ".spec") + ".metadata"
	var lists, metadata []string
	for _, name := range names {
		if _, ok := isMetadata(name); ok {
			metadata = append(metadata, name)
			if name == own {
				metadata = []string{name}
				break
			}
		}
	}
	if slices.Contains(names, "sources") {
		text, err := read("sources", maxList)
		if err != nil {
			return nil, err
		}
		if looksLikeList(text) {
			lists = append(lists, "sources")
		}
	}
	if len(metadata) > 1 {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "keep only "+own,
			"%d lists of sources next to %s (%s, %s, …), none of which is %s",
			len(metadata), printable.Name(spec), printable.Name(metadata[0]), printable.Name(metadata[1]), own)
	}
	return append(lists, metadata...), nil
}

// ReadLists returns what the lists of a dist-git repository name, in their order, and the package's name there.
func ReadLists(read ListReader, lists []string, spec string) (pkg string, all []Listed, err error) {
	pkg = strings.TrimSuffix(path.Base(spec), ".spec")
	by := map[string]checksum.Checksum{}
	for _, list := range lists {
		text, err := read(list, maxList)
		if err != nil {
			return "", nil, err
		}
		parse := parseSources
		if name, ok := isMetadata(list); ok {
			pkg, parse = name, parseMetadata
		}
		found, err := parse(list, text)
		if err != nil {
			return "", nil, err
		}
		for _, l := range found {
			before, twice := by[l.Name]
			if twice && before.Algorithm == l.Checksum.Algorithm && before != l.Checksum {
				return "", nil, rpmflow.Fail(rpmflow.FailureSource, "remove one of them",
					"two lists have different checksums of %s: %s and %s", printable.Name(l.Name), before, l.Checksum)
			}
			if !twice {
				by[l.Name] = l.Checksum
				all = append(all, l)
			}
		}
	}
	return pkg, all, nil
}
