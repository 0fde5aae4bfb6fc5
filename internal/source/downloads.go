package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/git"
	"github.com/rpmflow/rpmflow/internal/lookaside"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// there reports whether a file of this name is among the sources on disk.
func (d *Draft) there(name string) bool {
	info, err := os.Lstat(filepath.Join(d.Sources, name))
	return err == nil && info.Mode().IsRegular()
}

// take adds what was collected to what is known of the sources.
func (d *Draft) take(ctx context.Context, all []fetch.File) error {
	into := fetch.Into{Project: d.request.Project, Dir: d.Sources, Time: d.CommitTime}
	files, notes, err := d.store.client.Collect(ctx, into, all)
	d.Notes = append(d.Notes, notes...)
	d.Files = append(d.Files, files...)
	return err
}

// fetchListed gets the files of dist-git's lists from the lookaside. What is in git under such a name must be the same
// file.
func (d *Draft) fetchListed(ctx context.Context) error {
	fields := lookaside.Fields{Name: d.listedAs, Branch: strings.TrimPrefix(d.request.Ref, "refs/heads/")}
	if fields.Branch == d.request.Ref {
		fields.Branch = "" // a tag
	}
	where := "in the repository"
	var all []fetch.File
	for _, l := range d.listed {
		if d.onDisk(l.Name) {
			continue // it is taken, and compared, when rpm names it
		}
		if d.there(l.Name) {
			if err := compare(filepath.Join(d.Sources, l.Name), l, where,
				"remove it, or correct its checksum in the list"); err != nil {
				return err
			}
			continue
		}
		if d.request.Sources.Lookaside == "" {
			d.deferred = append(d.deferred, l) // only the expanded spec shows whether it has a URL of it
			continue
		}
		fields.File, fields.Checksum = l.Name, l.Checksum
		own, err := lookaside.URL(d.request.Sources.Lookaside, fields)
		if err != nil {
			return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: "no URL for " + show(l.Name), Err: err,
				Hint: "push a branch, or set lookaside: in the project's configuration to a template without that " +
					"field"}
		}
		all = append(all, fetch.File{
			Name: l.Name, Label: show(l.Name), Origin: rpmflow.OriginLookaside,
			Checksums: []checksum.Checksum{l.Checksum},
			Places:    append([]string{own}, alternatives(d.request.Sources.Mirrors, fields)...),
		})
	}
	return d.take(ctx, all)
}

// noLookaside is the failure of a file that only a list has.
func (a Advice) noLookaside(name string) error {
	set := cmp.Or(a.Lookaside, "set lookaside: in the project's configuration:")
	return rpmflow.Fail(rpmflow.FailureSource,
		set+" "+strings.Join(lookaside.Presets(), ", ")+", or a template of URLs",
		"%s is in the list of sources only, and there is no lookaside to get it from", show(name))
}

// compare compares a file with its checksum in a list. place says where the file is.
func compare(file string, l fetch.Listed, place, hint string) error {
	err := fetch.Compare(file, l.Name+" "+place, []checksum.Checksum{l.Checksum})
	if f := failureOf(err); f != nil {
		return rpmflow.Fail(f.Kind, hint, "%s by the list of sources", f.Message)
	}
	return err
}

// alternatives are the URLs of a file on other servers. One that needs a field without a value is left out.
func alternatives(templates []string, fields lookaside.Fields) (urls []string) {
	for _, t := range templates {
		if !strings.Contains(t, "{file}") && !strings.Contains(t, "{hash}") {
			t = strings.TrimSuffix(t, "/") + "/{file}"
		}
		if u, err := fields.Expand(t); err == nil {
			urls = append(urls, u)
		}
	}
	return urls
}

// known returns the checksums that the project has of its sources, by their names.
func (d *Draft) known() (map[string][]checksum.Checksum, error) {
	known := map[string][]checksum.Checksum{}
	for _, text := range d.request.Sources.Checksums {
		file, sum, err := checksum.ParseFile(text)
		if err != nil {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "correct checksums: in the project's configuration", "%v",
				err)
		}
		known[file] = append(known[file], sum)
	}
	return known, nil
}

// compareKnown compares the sources that are there already, from git, a list or a tree, with the project's checksums.
func (d *Draft) compareKnown() error {
	known, err := d.known()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !d.there(name) {
			continue
		}
		err := fetch.Compare(filepath.Join(d.Sources, name), name, known[name])
		if f := failureOf(err); f != nil {
			f.Hint = "correct the file, or checksums: in the project's configuration"
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// download gets what the spec names by a URL and is not there. If something else is missing, rpm cannot go on.
func (c *completion) download(ctx context.Context) error {
	known, err := c.known()
	if err != nil {
		return err
	}
	isDeferred := func(name string) bool {
		return slices.ContainsFunc(c.deferred, func(l fetch.Listed) bool { return l.Name == name })
	}
	for _, l := range c.deferred {
		known[l.Name] = append(known[l.Name], l.Checksum)
	}
	files, err := c.expanded.Downloads(c.there, func(f spec.File) error {
		if isDeferred(f.Name()) {
			return c.store.advice.noLookaside(f.Name())
		}
		if c.expanded.Partial { // rpm does without
			return nil
		}
		return c.missing(ctx, f)
	})
	if err != nil {
		return err
	}
	all := downloads(files, known)
	for i, w := range all {
		fields := lookaside.Fields{Name: c.expanded.Name, File: w.Name}
		if len(w.Checksums) > 0 {
			fields.Checksum = w.Checksums[0]
		}
		all[i].Places = append(w.Places, alternatives(c.request.Sources.Mirrors, fields)...)
	}
	for _, l := range c.deferred {
		if !c.expanded.Names(l.Name) {
			c.Notes = append(c.Notes, show(l.Name)+" is in the list of sources, but is not a source of the spec: it "+
				"is left out")
		}
	}
	return c.take(ctx, all)
}

// downloads are the files of a spec as they are downloaded, with the checksums that are known of them.
func downloads(files []spec.File, known map[string][]checksum.Checksum) (all []fetch.File) {
	for _, f := range files {
		all = append(all, fetch.File{
			Name: f.Name(), Label: f.Label(), Places: []string{f.Value}, Checksums: known[f.Name()],
			Origin: rpmflow.OriginDownload,
		})
	}
	return all
}

// missing explains why a source is not there that has no URL.
func (c *completion) missing(ctx context.Context, f spec.File) error {
	if c.request.WorkTree != nil {
		return c.notBeside(f)
	}
	name := f.Name()
	hint := "commit the file next to the spec, or correct the " + f.Label() + " line"
	if c.Layout == rpmflow.LayoutDistGit {
		hint = "commit the file next to the spec, upload it to the lookaside, or correct the " + f.Label() + " line"
	}
	req := c.request
	req.Commit = c.Commit
	if c.Layout == rpmflow.LayoutSplit { // the request is the source tree's, and the spec is not in it
		return rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s is not in the repository", f.Label(), show(f.Value))
	}
	isDir := false
	err := c.store.read(ctx, req, func(tree git.Tree) error {
		for _, dir := range []string{path.Dir(c.SpecPath), path.Join(packageDir(c.SpecPath), "SOURCES")} {
			e, err := tree.Find(path.Join(dir, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			isDir = isDir || (err == nil && e.IsDir())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if isDir && checksum.CheckFileName(name) == nil {
		return rpmflow.Fail(rpmflow.FailureSource,
			"name a file: pack the directory into an archive, or list its files one by one",
			"%s %s is a directory in the repository", f.Label(), show(f.Value))
	}
	return rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s is not in the repository", f.Label(), show(f.Value))
}

// packageDir is the directory that spec and lists of sources are in: SPECS is one below.
func packageDir(specPath string) string {
	if dir := path.Dir(specPath); path.Base(dir) != "SPECS" {
		return dir
	}
	return path.Dir(path.Dir(specPath))
}

// mayMiss reports whether the spec's text, before rpm has expanded it, names a file that is not there.
func (d *Draft) mayMiss() (bool, error) {
	in, err := os.Open(d.Spec)
	if err != nil {
		return false, fmt.Errorf("looking at the spec: %w", err)
	}
	defer func() { _ = in.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return false, fmt.Errorf("looking at the spec: %w", err)
	}
	entries, err := os.ReadDir(d.Sources)
	if err != nil {
		return false, fmt.Errorf("looking at the sources: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return spec.ParseUnexpanded(text).Misses(names), nil
}
