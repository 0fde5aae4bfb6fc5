package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/git/worktree"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// Dirs lists the directories in which the sources of a spec on disk may be, the first one that has a file
// being the one to take: next to the spec as it was named, then, if it is a symbolic link, next to what that leads to.
// For a spec in SPECS that is SOURCES, then SPECS itself.
func Dirs(name string) []string {
	var dirs []string
	add := func(dir string) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for range maxLinks {
		dir := filepath.Dir(name)
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			real = dir
		}
		for _, dir := range []string{dir, real} {
			if filepath.Base(dir) == "SPECS" {
				add(filepath.Join(filepath.Dir(dir), "SOURCES"))
			}
			if dir == real { // the same files, by another name
				add(dir)
			}
		}
		target, err := os.Readlink(name)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(real, target)
		}
		name = target
	}
	return dirs
}

// errDangling is what is wrong with a link to nothing.
var errDangling = errors.New("which is not there")

// locate finds a file that a spec names. It is "" if none of the directories has it; a directory of that name is not
// taken, and is returned as other.
func locate(dirs []string, name string) (file string, other error, err error) {
	for _, dir := range dirs {
		file = filepath.Join(dir, name)
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if target, lerr := os.Readlink(file); lerr == nil && other == nil {
				other = fmt.Errorf("%s leads to %s, %w", show(file), show(target), errDangling)
			}
			continue
		case err != nil:
			return "", nil, worktree.Unusable(file, err)
		case info.IsDir():
			if other == nil {
				other = fmt.Errorf("%s is a directory", show(file))
			}
			continue
		case !info.Mode().IsRegular():
			return "", nil, worktree.Unusable(file, worktree.CheckRegular(info.Mode()))
		}
		return file, nil, nil
	}
	return "", other, nil
}

const (
	maxLinks = 40 // followed from a spec on disk; Linux's own limit
	// maxBeside is the largest file that a spec may include which it does not name, maxAllBeside what all of them may
	// have together, in bytes, and maxFilesBeside how many they may be.
	maxBeside      = 1 << 20
	maxAllBeside   = 64 << 20
	maxFilesBeside = 2000
)

// CopySmall copies what a spec may read while rpm expands it: files next to it that are small, as far as the bounds
// allow. It reports whether all of them were within the bounds.
func CopySmall(ctx context.Context, dirs []string, to string, mtime time.Time) (all bool, err error) {
	left, files := int64(maxAllBeside), maxFilesBeside
	all = true
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // rpm will report it, if the spec needs something of it
		}
		for _, e := range entries {
			file := filepath.Join(dir, e.Name())
			info, err := os.Stat(file) // of a link: what it leads to
			if err != nil || !info.Mode().IsRegular() || info.Size() > maxBeside || e.Name() == worktree.ResultsList {
				continue
			}
			if _, err := os.Lstat(filepath.Join(to, e.Name())); err == nil {
				continue
			}
			left -= info.Size()
			if files--; files < 0 || left < 0 {
				return false, nil
			}
			err = worktree.CopyFile(ctx, file, filepath.Join(to, e.Name()), mtime)
			if err != nil && failureOf(err) == nil {
				return all, err // rpm reports an unreadable one if it needs it
			}
		}
	}
	return all, nil
}

// copyNamed copies what the spec reads while it is expanded, as far as its text shows that before.
func (d *Draft) copyNamed(ctx context.Context) error {
	text, err := os.ReadFile(d.Spec)
	if err != nil {
		return fmt.Errorf("reading the spec: %w", err)
	}
	seen := spec.ParseUnexpanded(text)
	for _, name := range seen.Plain() {
		file, _, err := locate(d.dirs, name)
		if err != nil || file == "" {
			continue // it is reported when rpm names it
		}
		if info, err := os.Stat(file); err != nil || info.Size() > maxBeside && !seen.RunsPrograms() {
			continue
		}
		if err := d.copyBeside(ctx, file, name); err != nil && failureOf(err) == nil {
			return err
		}
	}
	if seen.ReadsNeighbours() {
		_, err = d.addNeighbours(ctx)
	}
	return err
}

// addNeighbours copies the small files next to a spec on disk, whether it names them or not: what rpm could not expand
// may include them. It reports whether there were any that were not there before.
func (d *Draft) addNeighbours(ctx context.Context) (added bool, err error) {
	if d.request.WorkTree == nil {
		return false, nil
	}
	before, err := os.ReadDir(d.Sources)
	if err != nil {
		return false, fmt.Errorf("looking at the sources: %w", err)
	}
	all, err := CopySmall(ctx, d.dirs, d.Sources, d.CommitTime)
	if err != nil {
		return false, err
	}
	if !all {
		d.Notes = append(d.Notes,
			"rpm did not get all files next to the spec, there are too many: name what it includes in a Source line")
	}
	after, err := os.ReadDir(d.Sources)
	if err != nil {
		return false, fmt.Errorf("looking at the sources: %w", err)
	}
	return len(after) > len(before), nil
}

func (d *Draft) copyBeside(ctx context.Context, file, name string) error {
	to := filepath.Join(d.Sources, name)
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	return worktree.CopyFile(ctx, file, to, d.CommitTime)
}

// onDisk reports whether a source is next to a spec on disk.
func (d *Draft) onDisk(name string) bool {
	return isBeside(d.dirs, name)
}

// gather copies the sources that rpm names and that are on disk.
func (c *completion) gather(ctx context.Context) error {
	for _, f := range c.expanded.Files {
		name := f.Name()
		if checksum.CheckFileName(name) != nil {
			continue // download reports it
		}
		file, other, err := locate(c.dirs, name)
		switch {
		case err == nil && file != "":
			err = c.copyBeside(ctx, file, name)
		case err == nil && errors.Is(other, errDangling) && !f.IsURL():
			err = c.notBeside(f) // the link says that it must be there
		}
		if m := failureOf(err); m != nil && !strings.HasPrefix(m.Message, f.Label()) {
			return &rpmflow.Failure{Kind: m.Kind, Message: f.Label() + " " + m.Message, Hint: m.Hint, Err: m.Err}
		}
		if err != nil {
			return err
		}
	}
	for _, l := range c.listed {
		if !c.there(l.Name) {
			continue
		}
		if err := compare(filepath.Join(c.Sources, l.Name), l, "next to the spec",
			"remove it, or correct its checksum in the list"); err != nil {
			return err
		}
	}
	return nil
}

// notBeside is the failure of a source that is not next to the spec on disk and has no URL.
func (c *completion) notBeside(f spec.File) error {
	_, other, err := locate(c.dirs, f.Name())
	if err != nil {
		return err
	}
	var where []string
	for _, dir := range c.dirs {
		where = append(where, show(dir))
	}
	why := "it is not in " + strings.Join(where, ", ")
	hint := "put the file next to the spec, or correct the " + f.Label() + " line"
	if other != nil {
		why, hint = other.Error(),
			"name a file that is there: pack a directory into an archive, or list its files one by one"
	}
	return rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s: %s", f.Label(), show(f.Value), why)
}
