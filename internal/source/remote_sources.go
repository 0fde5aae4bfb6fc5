package source

import (
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
func (p *Prepared) there(name string) bool {
	info, err := os.Lstat(filepath.Join(p.Sources, name))
	return err == nil && info.Mode().IsRegular()
}

// take adds what was collected to what is known of the sources.
func (p *Prepared) take(ctx context.Context, all []wanted) error {
	files, notes, err := p.store.collect(ctx, p.request.Project, p.Sources, p.CommitTime, all)
	p.Notes = append(p.Notes, notes...)
	p.Files = append(p.Files, files...)
	return err
}

// fetchListed gets the files of dist-git's lists from the lookaside. What is in git under such a name must be the same file.
func (p *Prepared) fetchListed(ctx context.Context) error {
	fields := lookaside.Fields{Name: p.listedAs, Branch: strings.TrimPrefix(p.request.Ref, "refs/heads/")}
	if fields.Branch == p.request.Ref {
		fields.Branch = "" // a tag
	}
	where := "in the repository"
	var all []wanted
	for _, l := range p.listed {
		if p.onDisk(l.name) {
			continue // it is taken, and compared, when rpm names it
		}
		if p.there(l.name) {
			if err := compare(filepath.Join(p.Sources, l.name), l, where, "remove it, or correct its checksum in the list"); err != nil {
				return err
			}
			continue
		}
		if p.request.Sources.Lookaside == "" {
			p.deferred = append(p.deferred, l) // whether the spec has a URL of it is rpm's to say
			continue
		}
		fields.File, fields.Checksum = l.name, l.sum
		own, err := lookaside.URL(p.request.Sources.Lookaside, fields)
		if err != nil {
			return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: "no URL for " + show(l.name), Err: err,
				Hint: "push a branch, or set lookaside: in the project's configuration to a template without that field"}
		}
		w := wanted{name: l.name, what: show(l.name), origin: rpmflow.OriginLookaside, known: []checksum.Checksum{l.sum}}
		w.places = append([]string{own}, mirrors(p.request.Sources.Mirrors, fields)...)
		all = append(all, w)
	}
	return p.take(ctx, all)
}

func (s *Store) noLookaside(name string) error {
	return rpmflow.Fail(rpmflow.FailureSource, s.lookaside+" "+strings.Join(lookaside.Presets(), ", ")+", or a template of URLs",
		"%s is in the list of sources only, and there is no lookaside to get it from", show(name))
}

// compare checks a file that a list names, too.
func compare(file string, l listed, where, hint string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("comparing a source with its checksum: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read only
	_, _, err = fetch.Sum(f, []checksum.Checksum{l.sum})
	var wrong *fetch.WrongSum
	if errors.As(err, &wrong) {
		return rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s has %s by the list of sources", show(l.name), where, wrong)
	}
	return err
}

// mirrors are the URLs that a file has there. One that needs to know more of it than we do is left out.
func mirrors(templates []string, fields lookaside.Fields) (urls []string) {
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

// known gives the checksums that the project has of its sources, by their names.
func (p *Prepared) known() (map[string][]checksum.Checksum, error) {
	known := map[string][]checksum.Checksum{}
	for _, text := range p.request.Sources.Checksums {
		file, sum, err := checksum.ParseFile(text)
		if err != nil {
			return nil, rpmflow.Fail(rpmflow.FailureSource, "correct checksums: in the project's configuration", "%v", err)
		}
		known[file] = append(known[file], sum)
	}
	return known, nil
}

// compareKnown compares the sources that are there already, from git, a list or a tree, with the project's checksums.
func (p *Prepared) compareKnown() error {
	known, err := p.known()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !p.there(name) {
			continue
		}
		err := CompareFile(filepath.Join(p.Sources, name), name, known[name])
		if f := failureOf(err); f != nil {
			f.Hint = "correct the file, or checksums: in the project's configuration"
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fetchRemote downloads what the spec.Expanded spec names by a URL and is not there. Where something else is missing, rpm could not go on.
func (p *Prepared) fetchRemote(ctx context.Context, e spec.Expanded) error {
	known, err := p.known()
	if err != nil {
		return err
	}
	isDeferred := func(name string) bool {
		return slices.ContainsFunc(p.deferred, func(l listed) bool { return l.name == name })
	}
	for _, l := range p.deferred {
		known[l.name] = append(known[l.name], l.sum)
	}
	files, err := e.Downloads(p.there, func(f spec.File) error {
		if isDeferred(f.Name()) {
			return p.store.noLookaside(f.Name())
		}
		if e.Partial { // rpm does without
			return nil
		}
		return p.missing(ctx, f)
	})
	if err != nil {
		return err
	}
	all := wantedOf(files, known)
	for i, w := range all {
		fields := lookaside.Fields{Name: e.Name, File: w.name}
		if len(w.known) > 0 {
			fields.Checksum = w.known[0]
		}
		all[i].places = append(w.places, mirrors(p.request.Sources.Mirrors, fields)...)
	}
	for _, l := range p.deferred {
		if !e.Names(l.name) {
			p.Notes = append(p.Notes, fmt.Sprintf("%s is in the list of sources, but no source of the spec: it is left out", show(l.name)))
		}
	}
	return p.take(ctx, all)
}

// wantedOf are the files of a spec as they are downloaded, with the checksums that are known of them.
func wantedOf(files []spec.File, known map[string][]checksum.Checksum) (all []wanted) {
	for _, f := range files {
		all = append(all, wanted{name: f.Name(), what: f.Label(), origin: rpmflow.OriginDownload, known: known[f.Name()], places: []string{f.Value}})
	}
	return all
}

// missing explains why a source is not there that has no URL.
func (p *Prepared) missing(ctx context.Context, f spec.File) error {
	if p.request.WorkTree != nil {
		return p.notBeside(f)
	}
	name := f.Name()
	hint := "commit the file beside the spec, or correct the " + f.Label() + " line"
	if p.Layout == rpmflow.LayoutDistGit {
		hint = "commit the file beside the spec, upload it to the lookaside, or correct the " + f.Label() + " line"
	}
	req := p.request
	req.Commit = p.Commit
	if p.Layout == rpmflow.LayoutSplit { // the request is the source tree's, and the spec is not in it
		return rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s is not in the repository", f.Label(), show(f.Value))
	}
	isDir := false
	err := p.store.read(ctx, req, func(tree git.Tree) error {
		for _, dir := range []string{path.Dir(p.SpecPath), path.Join(packageDir(p.SpecPath), "SOURCES")} {
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
		return rpmflow.Fail(rpmflow.FailureSource, "name a file: pack the directory into an archive, or list its files one by one",
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

// mayMiss reports whether the spec, as far as can be told before rpm has expanded it, names a file that is not there.
func (p *Prepared) mayMiss() (bool, error) {
	in, err := os.Open(p.Spec)
	if err != nil {
		return false, fmt.Errorf("looking at the spec: %w", err)
	}
	defer func() { _ = in.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return false, fmt.Errorf("looking at the spec: %w", err)
	}
	entries, err := os.ReadDir(p.Sources)
	if err != nil {
		return false, fmt.Errorf("looking at the sources: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return spec.ParseUnexpanded(text).Misses(names), nil
}
