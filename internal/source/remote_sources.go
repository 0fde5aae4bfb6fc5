package source

import (
	"bytes"
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

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/fetch"
)

// maxURLs is how many files a spec may have downloaded.
const maxURLs = 1000

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
	fields := rpmflow.LookasideFields{Name: p.listedAs, Branch: strings.TrimPrefix(p.request.Ref, "refs/heads/")}
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
		own, err := p.request.Sources.Lookaside.URL(fields)
		if err != nil {
			return &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: "no URL for " + show(l.name), Err: err,
				Hint: "push a branch, or set lookaside: in the project's configuration to a template without that field"}
		}
		w := wanted{name: l.name, what: show(l.name), origin: rpmflow.OriginLookaside, known: []rpmflow.Checksum{l.sum}}
		w.places = append([]string{own}, mirrors(p.request.Sources.Mirrors, fields)...)
		all = append(all, w)
	}
	return p.take(ctx, all)
}

func (s *Store) noLookaside(name string) error {
	return rpmflow.Fail(rpmflow.FailureSource, s.lookaside+" "+strings.Join(rpmflow.LookasidePresets(), ", ")+", or a template of URLs",
		"%s is in the list of sources only, and there is no lookaside to get it from", show(name))
}

// compare checks a file that a list names, too.
func compare(file string, l listed, where, hint string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("comparing a source with its checksum: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read only
	_, _, err = fetch.Sum(f, []rpmflow.Checksum{l.sum})
	var wrong *fetch.WrongSum
	if errors.As(err, &wrong) {
		return rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s has %s by the list of sources", show(l.name), where, wrong)
	}
	return err
}

// mirrors are the URLs that a file has there. One that needs to know more of it than we do is left out.
func mirrors(templates []string, fields rpmflow.LookasideFields) (urls []string) {
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
func (p *Prepared) known() (map[string][]rpmflow.Checksum, error) {
	known := map[string][]rpmflow.Checksum{}
	for _, text := range p.request.Sources.Checksums {
		file, sum, err := rpmflow.ParseFileChecksum(text)
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

// fetchRemote downloads what the expanded spec names by a URL and is not there. Where something else is missing, rpm could not go on.
func (p *Prepared) fetchRemote(ctx context.Context, e expanded) error {
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
	all, err := e.remote(p.there, known, func(t tag) error {
		if isDeferred(t.file()) {
			return p.store.noLookaside(t.file())
		}
		if e.partial { // rpm does without
			return nil
		}
		return p.missing(ctx, t)
	})
	if err != nil {
		return err
	}
	for i, w := range all {
		fields := rpmflow.LookasideFields{Name: e.name, File: w.name}
		if len(w.known) > 0 {
			fields.Checksum = w.known[0]
		}
		all[i].places = append(w.places, mirrors(p.request.Sources.Mirrors, fields)...)
	}
	for _, l := range p.deferred {
		if !slices.ContainsFunc(e.tags(), func(t tag) bool { return t.file() == l.name }) {
			p.Notes = append(p.Notes, fmt.Sprintf("%s is in the list of sources, but no source of the spec: it is left out", show(l.name)))
		}
	}
	return p.take(ctx, all)
}

// remote lists what the spec names by a URL and is not there, with the checksums that are known of it. missing is asked about each file that
// is not there and has no URL.
func (e expanded) remote(there func(name string) bool, known map[string][]rpmflow.Checksum, missing func(tag) error) ([]wanted, error) {
	var all []wanted
	by := map[string]string{} // file name to URL
	for _, tag := range e.tags() {
		name := tag.file()
		if name != "" && rpmflow.CheckFileName(name) == nil && there(name) {
			continue
		}
		if !isURL(tag.value) {
			if err := missing(tag); err != nil {
				return nil, err
			}
			continue
		}
		if err := rpmflow.CheckFileName(name); err != nil {
			return nil, &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: tag.label + " " + fetch.Clean(tag.value), Err: err,
				Hint: "give it a name: https://host/path#/file.tar.gz"}
		}
		url := tag.value
		if before, twice := by[name]; twice {
			if before != url {
				return nil, rpmflow.Fail(rpmflow.FailureSource, "give one of them another name: https://host/path#/file.tar.gz", "two URLs for the one file %s: %s and %s",
					show(name), fetch.Clean(before), fetch.Clean(url))
			}
			continue
		}
		by[name] = url
		all = append(all, wanted{name: name, what: tag.label, origin: rpmflow.OriginDownload, known: known[name], places: []string{url}})
	}
	if len(all) > maxURLs {
		return nil, rpmflow.Fail(rpmflow.FailureSource, "use a lookaside, or pack several files into one", "%d sources are to be downloaded; %d are the most", len(all), maxURLs)
	}
	return all, nil
}

// tag is a Source or Patch of a spec, with the name that it has there.
type tag struct {
	numbered
	label string
}

func (e expanded) tags() []tag {
	var all []tag
	for _, s := range e.sources {
		all = append(all, tag{s, fmt.Sprintf("Source%d", s.number)})
	}
	for _, n := range e.patches {
		all = append(all, tag{n, fmt.Sprintf("Patch%d", n.number)})
	}
	return all
}

// isURL is what rpm takes for one (rpmio/rpmurl.c), without those of files.
func isURL(value string) bool {
	scheme, _, ok := strings.Cut(value, "://")
	return ok && slices.Contains([]string{"http", "https", "ftp"}, strings.ToLower(scheme))
}

// missing explains why a source is not there that has no URL.
func (p *Prepared) missing(ctx context.Context, t tag) error {
	if p.request.WorkTree != nil {
		return p.notBeside(t)
	}
	name := t.file()
	hint := "commit the file beside the spec, or mend the " + t.label + " line"
	if p.Layout == rpmflow.LayoutDistGit {
		hint = "commit the file beside the spec, upload it to the lookaside, or mend the " + t.label + " line"
	}
	req := p.request
	req.Commit = p.Commit
	if p.Layout == rpmflow.LayoutSplit { // the request is the source tree's, and the spec is not in it
		return rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s is not in the repository", t.label, show(t.value))
	}
	isDir := false
	err := p.store.read(ctx, req, func(snap *snapshot) error {
		for _, dir := range []string{path.Dir(p.SpecPath), path.Join(packageDir(p.SpecPath), "SOURCES")} {
			e, _, err := snap.find(path.Join(dir, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			isDir = isDir || (err == nil && e.Mode == filemode.Dir)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if isDir && rpmflow.CheckFileName(name) == nil {
		return rpmflow.Fail(rpmflow.FailureSource, "name a file: pack the directory into an archive, or list its files one by one",
			"%s %s is a directory in the repository", t.label, show(t.value))
	}
	return rpmflow.Fail(rpmflow.FailureSource, hint, "%s %s is not in the repository", t.label, show(t.value))
}

// packageDir is the directory that spec and lists of sources are in: SPECS is one below.
func packageDir(spec string) string {
	if dir := path.Dir(spec); path.Base(dir) != "SPECS" {
		return dir
	}
	return path.Dir(path.Dir(spec))
}

// mayMiss reports whether the spec, as far as can be told before rpm has expanded it, names a file that is not there.
func (p *Prepared) mayMiss() (bool, error) {
	spec, err := os.Open(p.Spec)
	if err != nil {
		return false, fmt.Errorf("looking at the spec: %w", err)
	}
	defer func() { _ = spec.Close() }() // it was read only
	text, err := io.ReadAll(io.LimitReader(spec, 1<<20))
	if err != nil {
		return false, fmt.Errorf("looking at the spec: %w", err)
	}
	entries, err := os.ReadDir(p.Sources)
	if err != nil {
		return false, fmt.Errorf("looking at the sources: %w", err)
	}
	return slices.ContainsFunc(glance(preambles(text)).all, func(pattern string) bool {
		return !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
			ok, err := path.Match(pattern, e.Name())
			return err == nil && ok
		})
	}), nil
}

// preambles are the parts of a spec, not yet expanded, in which Source and Patch lines are tags; each line of the sections
// %sourcelist and %patchlist is made one.
func preambles(spec []byte) []byte {
	var kept []byte
	tags, prefix := true, ""
	for line := range bytes.Lines(spec) {
		word, _, _ := strings.Cut(strings.TrimRight(string(line), "\r\n\t "), " ")
		if word = strings.ToLower(word); strings.HasPrefix(word, "%") && slices.Contains(sections, word) {
			prefix = map[string]string{"%sourcelist": "Source: ", "%patchlist": "Patch: "}[word]
			tags = word == "%package" || prefix != ""
			continue
		}
		if tags {
			kept = append(append(kept, prefix...), line...)
		}
	}
	return kept
}
