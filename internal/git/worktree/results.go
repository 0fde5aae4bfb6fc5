package worktree

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ResultsList is the file in a directory of results that names what local builds have put there, in the form of
// sha256sum. With it such files are distinguished from sources, in any directory; a file that was
// changed since is a source again.
const ResultsList = ".rpmflow-results"

// partialResult is how a file begins that a local build was writing when it was killed.
const partialResult = ".rpmflow-part-"

// MarkResults makes a directory known as one of results, so that it is not part of a tree even before the first
// result is there.
func MarkResults(dir string) error { return writeResults(dir, readResults(dir), "") }

// NoteResult adds a file to the list of its directory, whether it is there already or not.
func NoteResult(dir, name, sha256 string) error {
	list := readResults(dir)
	list[name] = sha256
	return writeResults(dir, list, name)
}

// writeResults keeps what is there, and the file that is about to be.
func writeResults(dir string, list map[string]string, name string) error {
	var b strings.Builder
	for _, known := range slices.Sorted(maps.Keys(list)) {
		if _, err := os.Lstat(filepath.Join(dir, known)); err == nil || known == name {
			fmt.Fprintf(&b, "%s  %s\n", list[known], known)
		}
	}
	out, err := os.CreateTemp(dir, partialResult+"*")
	if err != nil {
		return fmt.Errorf("list of results: %w", err)
	}
	_, err = out.WriteString(b.String())
	if err = errors.Join(err, out.Chmod(0o644), out.Close()); err == nil {
		err = os.Rename(out.Name(), filepath.Join(dir, ResultsList))
	}
	if err != nil {
		return fmt.Errorf("list of results: %w", errors.Join(err, os.Remove(out.Name())))
	}
	return nil
}

// IsResult reports whether a file is in its directory as a build has put it there.
func IsResult(dir, name string) bool { return isResult(dir, name, readResults(dir)) }

// CreateResult makes a file that is to be given its name when it is whole.
func CreateResult(dir string) (*os.File, error) { return os.CreateTemp(dir, partialResult+"*") }

func isResult(dir, name string, list map[string]string) bool {
	if name == ResultsList || strings.HasPrefix(name, partialResult) {
		return true
	}
	want, listed := list[name]
	if !listed {
		return false
	}
	in, _, err := OpenRegular(filepath.Join(dir, name))
	if err != nil {
		return false
	}
	defer func() { _ = in.Close() }() // it was read only
	sum := sha256.New()
	if _, err := io.Copy(sum, in); err != nil {
		return false
	}
	return hex.EncodeToString(sum.Sum(nil)) == want
}

// readResults reads the list of a directory. What is not understood names nothing.
func readResults(dir string) map[string]string {
	list := map[string]string{}
	in, _, err := OpenRegular(filepath.Join(dir, ResultsList))
	if err != nil {
		return list
	}
	defer func() { _ = in.Close() }() // it was read only
	lines := bufio.NewScanner(io.LimitReader(in, 16<<20))
	for lines.Scan() {
		if sum, name, ok := strings.Cut(lines.Text(), "  "); ok && len(sum) == 2*sha256.Size &&
			name == filepath.Base(name) {
			list[name] = sum
		}
	}
	return list
}

// resultsIn returns which of the names in a directory are results.
func resultsIn(dir string, names []string) func(name string) bool {
	if !slices.Contains(names, ResultsList) {
		return func(string) bool { return false }
	}
	list := readResults(dir)
	return func(name string) bool { return isResult(dir, name, list) }
}
