package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/fetch"
	"github.com/rpmflow/rpmflow/internal/lookaside"
	"github.com/rpmflow/rpmflow/internal/spec"
)

// SpecSources is a request for the sources of a spec on disk, without a commit.
type SpecSources struct {
	Spec     string // its file; dist-git's lists are looked for next to it, or above SPECS
	Expanded []byte // the spec as `rpmspec -P` prints it
	// Dir is where the sources are to be. Beside are the directories that a build takes them from, as Dirs returns
	// them; Dir may be one of them.
	Dir    string
	Beside []string
	// Lookaside has the files of the lists; empty: those that the spec names by a URL are downloaded from there.
	Lookaside string
	// Branch is the one that a lookaside may need; empty: it is not known.
	Branch string
	Advice Advice
}

// Obtained is what has become of one source of a spec.
type Obtained struct {
	Name string `json:"name"`
	// State is "there", for a file that was there before, "fetched", "missing", for one without a URL, or "left-out",
	// for one that only a list names, when it is not known where that has it.
	State string `json:"state"`
	// Compared reports whether its checksum was known, and is right.
	Compared bool               `json:"compared"`
	From     rpmflow.SourceFile `json:"from,omitzero"` // where it was fetched from
}

// The states.
const (
	wasThere = "there"
	fetched  = "fetched"
	notThere = "missing"
	leftOut  = "left-out"
)

// String is a line for people.
func (o Obtained) String() string {
	compared := "no checksum to compare it with"
	if o.Compared {
		compared = "its checksum is right"
	}
	what := ""
	switch o.State {
	case wasThere:
		what = "was there, " + compared
	case fetched:
		what = fmt.Sprintf("%d bytes from %s, %s", o.From.Size, o.From.URL, compared)
	case notThere:
		what = "is not there, and the spec has no URL of it"
	case leftOut:
		what = "is in the list of sources only, and not in the spec: use --lookaside to fetch it"
	}
	return fmt.Sprintf("%-8s  %s: %s", o.State, show(o.Name), what)
}

// FetchSources downloads the sources of a spec that are not there, and compares those that are with the checksums of
// dist-git's lists. With an error it returns what was done until then.
func FetchSources(ctx context.Context, client *fetch.Client, req SpecSources) (states []Obtained, err error) {
	pkg, list, err := listsOnDisk(req.Spec)
	if err != nil {
		return nil, err
	}
	f := &specFetch{SpecSources: req, client: client, listed: map[string]fetch.Listed{}, pkg: pkg, states: []Obtained{}}
	for _, l := range list {
		f.listed[l.Name] = l
	}
	all, err := f.plan()
	if err != nil {
		return f.states, err
	}
	err = f.fetch(ctx, all)
	return f.states, err
}

type specFetch struct {
	SpecSources
	client *fetch.Client
	pkg    string
	listed map[string]fetch.Listed
	states []Obtained
}

// plan looks at what is there, and returns what is missing.
func (f *specFetch) plan() ([]fetch.File, error) {
	known := map[string][]checksum.Checksum{}
	for name, l := range f.listed {
		known[name] = []checksum.Checksum{l.Checksum}
	}
	e := spec.ParseExpanded(f.Expanded)
	var there, missing []string
	var failed error
	files, err := e.Downloads(func(name string) bool {
		ok, err := f.has(name)
		failed = errors.Join(failed, err)
		if ok && !slices.Contains(there, name) {
			there = append(there, name)
		}
		return ok || err != nil
	}, func(line spec.File) error {
		name := line.Name()
		if _, ok := f.listed[name]; !ok && !slices.Contains(missing, name) && !isBeside(f.Beside, name) {
			missing = append(missing, name)
		}
		return nil
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	for _, name := range there {
		if err := f.found(name); err != nil {
			return nil, err
		}
	}
	for _, name := range missing {
		f.states = append(f.states, Obtained{Name: name, State: notThere})
	}
	return f.planListed(e, downloads(files, known), there)
}

// planListed puts the lookaside before the places of what the lists name, and adds what they name and the spec does not
// by a URL.
func (f *specFetch) planListed(e spec.Expanded, all []fetch.File, there []string) ([]fetch.File, error) {
	for _, name := range slices.Sorted(maps.Keys(f.listed)) {
		l := f.listed[name]
		if slices.Contains(there, name) {
			continue
		}
		i := slices.IndexFunc(all, func(w fetch.File) bool { return w.Name == name })
		if ok, err := f.has(name); err != nil {
			return nil, err
		} else if ok { // and the spec does not name it
			if err := f.found(name); err != nil {
				return nil, err
			}
			continue
		}
		if f.Lookaside == "" {
			switch {
			case i >= 0: // the spec has a URL of it
			case e.Names(name):
				return nil, f.Advice.noLookaside(name)
			default:
				f.states = append(f.states, Obtained{Name: name, State: leftOut})
			}
			continue
		}
		at, err := lookaside.URL(f.Lookaside, lookaside.Fields{Name: f.pkg, Branch: f.Branch, File: name,
			Checksum: l.Checksum})
		if err != nil {
			return nil, &rpmflow.Failure{Kind: rpmflow.FailureSource, Message: "no URL for " + show(name), Err: err,
				Hint: "check out a branch of the repository, or give --lookaside a template without that field"}
		}
		if i < 0 {
			all = append(all, fetch.File{Name: name, Label: show(name), Checksums: []checksum.Checksum{l.Checksum}})
			i = len(all) - 1
		}
		all[i].Origin, all[i].Places = rpmflow.OriginLookaside, append([]string{at}, all[i].Places...)
	}
	return all, nil
}

// found writes down a file that is there, and compares it with its checksum if one is listed.
func (f *specFetch) found(name string) error {
	l, ok := f.listed[name]
	if ok {
		file, _, err := locate(f.where(), name)
		if err != nil {
			return err
		}
		if err := compare(file, l, "in "+filepath.Dir(file),
			"remove the file and fetch it again, or correct its checksum in the list"); err != nil {
			return err
		}
	}
	f.states = append(f.states, Obtained{Name: name, State: wasThere, Compared: ok})
	return nil
}

// has reports whether the file is where a build would take it from. Links are followed: they are the user's own.
func (f *specFetch) has(name string) (bool, error) {
	file, other, err := locate(f.where(), name)
	if err == nil && file == "" && other != nil {
		err = rpmflow.Fail(rpmflow.FailureSource, "remove it, or name another directory with -C",
			"%s in %s is not a file: %s", show(name), f.Dir, other)
	}
	return file != "", err
}

// where are the directories that are to have the sources.
func (f *specFetch) where() []string {
	if slices.Contains(f.Beside, f.Dir) {
		return f.Beside
	}
	return []string{f.Dir}
}

// isBeside reports whether one of the directories has a file of the name.
func isBeside(dirs []string, name string) bool {
	file, _, err := locate(dirs, name)
	return err == nil && file != ""
}

func isOnDisk(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// fetch downloads into a directory next to the files, so that none is ever there in part.
func (f *specFetch) fetch(ctx context.Context, all []fetch.File) (err error) {
	if len(all) == 0 {
		return nil
	}
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		return fmt.Errorf("directory for sources: %w", err)
	}
	dir, err := os.MkdirTemp(f.Dir, ".rpmflow-fetch-")
	if err != nil {
		return fmt.Errorf("directory for sources: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files, _, err := f.client.Collect(ctx, fetch.Into{Project: f.pkg, Dir: dir, Time: time.Now()}, all)
	for _, got := range files {
		if rerr := os.Rename(filepath.Join(dir, got.Name), filepath.Join(f.Dir, got.Name)); rerr != nil {
			err = errors.Join(err, fmt.Errorf("put %s in its place: %w", show(got.Name), rerr))
			continue
		}
		_, compared := f.listed[got.Name]
		f.states = append(f.states, Obtained{Name: got.Name, State: fetched, Compared: compared, From: got})
	}
	return err
}

// listsOnDisk reads dist-git's lists next to a spec, and returns the package's name there.
func listsOnDisk(specPath string) (pkg string, list []fetch.Listed, err error) {
	dir := filepath.Dir(specPath)
	if filepath.Base(dir) == "SPECS" {
		dir = filepath.Dir(dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, fmt.Errorf("looking for lists of sources: %w", err)
	}
	var names []string
	for _, e := range entries {
		if fetch.IsList(e.Name()) && isOnDisk(filepath.Join(dir, e.Name())) {
			names = append(names, e.Name())
		}
	}
	read := func(name string, n int64) ([]byte, error) {
		in, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("list of sources: %w", err)
		}
		defer func() { _ = in.Close() }() // it was read only
		text, err := io.ReadAll(io.LimitReader(in, n))
		if err != nil {
			return nil, fmt.Errorf("list of sources: %w", err)
		}
		return text, nil
	}
	lists, err := fetch.FindLists(names, read, filepath.ToSlash(specPath))
	if err != nil {
		return "", nil, err
	}
	return fetch.ReadLists(read, lists, filepath.ToSlash(specPath))
}
