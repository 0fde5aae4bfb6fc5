package source

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/git"
)

const (
	maxList   = 1 << 20 // bytes of a list
	maxListed = 10_000  // its entries
)

// listed is a file that a dist-git repository keeps elsewhere.
type listed struct {
	name string
	sum  checksum.Checksum
}

// bsdLine is a line of Fedora's list as rpkg writes it today: SHA512 (file) = digest.
var bsdLine = regexp.MustCompile(`^([A-Za-z0-9]+) \((.+)\) = ([0-9A-Fa-f]+)$`)

// parseSources reads Fedora's list, whose old form has the MD5 checksum before the name.
func parseSources(list string, text []byte) ([]listed, error) {
	return parseList(list, text, func(line string) (listed, error) {
		if m := bsdLine.FindStringSubmatch(line); m != nil {
			sum, err := checksum.New(m[1], m[3])
			return listed{m[2], sum}, err
		}
		return digestAndName(line)
	})
}

// parseMetadata reads CentOS's list: a digest, whose length tells the algorithm, and a path below SOURCES.
func parseMetadata(list string, text []byte) ([]listed, error) {
	return parseList(list, text, func(line string) (listed, error) {
		l, err := digestAndName(line)
		l.name = strings.TrimPrefix(strings.TrimPrefix(l.name, "./"), "SOURCES/")
		return l, err
	})
}

func digestAndName(line string) (listed, error) {
	digest, name, ok := strings.Cut(line, " ")
	if name = strings.TrimLeft(name, " *"); !ok || name == "" { // md5sum marks binary files with a star
		return listed{}, fmt.Errorf("%.80q is no checksum with a file's name", line)
	}
	sum, err := checksum.Of(digest)
	return listed{name, sum}, err
}

func parseList(list string, text []byte, parse func(line string) (listed, error)) ([]listed, error) {
	refuse := func(n int, err error) error {
		return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: fmt.Sprintf("%s, line %d", show(list), n), Err: err,
			Hint: "let fedpkg, centpkg or their like write the list"}
	}
	if len(text) >= maxList {
		return nil, refuse(1, fmt.Errorf("the list has more than %d bytes", maxList))
	}
	var all []listed
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
			err = checksum.CheckFileName(l.name)
		}
		if before, twice := by[l.name]; err == nil && twice && before != l.sum {
			err = fmt.Errorf("%s is there twice, with the checksums %s and %s", show(l.name), before, l.sum)
		} else if twice {
			continue
		}
		if len(all) >= maxListed && err == nil {
			err = fmt.Errorf("more than %d files", maxListed)
		}
		if err != nil {
			return nil, refuse(n, err)
		}
		by[l.name] = l.sum
		all = append(all, l)
	}
	return all, nil
}

// looksLikeList tells dist-git's list from any other file that is called sources: its first line decides.
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

// isMetadata reports whether a file has the name of CentOS's list, and gives the package that is part of it.
func isMetadata(name string) (pkg string, ok bool) {
	pkg, ok = strings.CutSuffix(name, ".metadata")
	pkg, dot := strings.CutPrefix(pkg, ".")
	return pkg, ok && dot && pkg != ""
}

// listReader reads the beginning of one of the lists.
type listReader func(name string, max int64) ([]byte, error)

// readLists gives what the lists of a dist-git repository name, in their order, and the package's name there.
func readLists(read listReader, lists []string, spec string) (pkg string, all []listed, err error) {
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
			before, twice := by[l.name]
			if twice && before.Algorithm == l.sum.Algorithm && before != l.sum {
				return "", nil, rpmflow.Fail(rpmflow.FailureSource, "remove one of them",
					"two lists have different checksums of %s: %s and %s", show(l.name), before, l.sum)
			}
			if !twice {
				by[l.name] = l.sum
				all = append(all, l)
			}
		}
	}
	return pkg, all, nil
}

// listsAt finds the lists in the package's directory.
func listsAt(tree git.Tree, dir, spec string) ([]string, listReader, error) {
	files := map[string]git.File{}
	var names []string
	add := func(f git.File) {
		files[f.Name()] = f
		names = append(names, f.Name())
	}
	if w, is := tree.(*git.WorkTree); is {
		for _, e := range w.ReadDir(filepath.Join(w.Dir(), filepath.FromSlash(dir))) {
			if _, is := isMetadata(e.Name()); !is && e.Name() != "sources" {
				continue // of a directory that may have many others
			}
			if f, found, err := git.FindFile(w, path.Join(dir, e.Name())); err == nil && found {
				add(f)
			}
		}
	} else {
		list, err := git.Files(tree, dir)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range list {
			add(f)
		}
	}
	read := func(name string, max int64) ([]byte, error) { return tree.Head(files[name].Entry, max) }
	lists, err := listsAmong(names, read, spec)
	return lists, read, err
}

// listsAmong picks the lists: sources, and .PACKAGE.metadata, of which the spec's own is taken if there are several.
func listsAmong(names []string, read listReader, spec string) ([]string, error) {
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
		return nil, rpmflow.Fail(rpmflow.FailureSource, "leave "+own+" alone", "%d lists of sources beside %s (%s, %s, …), none of which is %s",
			len(metadata), show(spec), show(metadata[0]), show(metadata[1]), own)
	}
	return append(lists, metadata...), nil
}
