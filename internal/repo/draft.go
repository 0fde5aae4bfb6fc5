package repo

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Rules are what a project allows in its repository.
type Rules struct {
	Replace     bool // a package may replace one of the same NEVRA with other content
	RefuseLower bool // a package must not be older than the newest of its name and architecture
}

// Refused is why a package is not taken into a repository.
type Refused struct {
	NEVRA       rpmfile.NEVRA
	Why, Remedy string
}

// Error implements error.
func (r *Refused) Error() string { return fmt.Sprintf("package %s: %s", r.NEVRA, r.Why) }

// Hinted is what to do about it, for package hint.
func (r *Refused) Hinted() string { return r.Remedy }

// Draft is the next revision of a repository, until it is published. The state that it is made from stays as it is.
type Draft struct {
	state   *State
	index   map[nameArch][]*Entry // of the next revision
	removed map[rpmfile.NEVRA]bool
	added   []addition
	renewed bool
}

type nameArch struct{ name, arch string }

type addition struct {
	*Package
	entry *Entry
}

// Edit begins the next revision.
func (s *State) Edit() *Draft {
	d := &Draft{state: s, index: map[nameArch][]*Entry{}, removed: map[rpmfile.NEVRA]bool{}}
	for _, f := range s.Frames {
		for i := range f.Entries {
			d.note(&f.Entries[i])
		}
	}
	return d
}

func (d *Draft) note(e *Entry) {
	k := nameArch{e.Name, e.Arch}
	d.index[k] = append(d.index[k], e)
}

// Changed reports whether the next revision differs from the last.
func (d *Draft) Changed() bool {
	return len(d.added)+len(d.removed) > 0 || d.state.Revision == 0 || d.renewed
}

// Renew makes a revision although nothing has changed: the files of the last one keep their signature.
func (d *Draft) Renew() { d.renewed = true }

// Add takes a package in. One that is there already, with this content or from this build, changes nothing: if it was
// signed again, it has another checksum. Its error is a *Refused.
func (d *Draft) Add(p *Package, from Origin, rules Rules) error {
	refuse := func(remedy, why string, args ...any) error {
		return &Refused{p.NEVRA, fmt.Sprintf(why, args...), remedy}
	}
	if !slices.Contains(d.state.Arches, p.Arch) {
		return refuse("build it for a target of its architecture",
			"it is of architecture %s, and the repository has %v", p.Arch, d.state.Arches)
	}
	var replaced *Entry
	for _, e := range d.index[nameArch{p.Name, p.Arch}] {
		switch {
		case e.NEVRA == p.NEVRA && (e.Checksum == p.Checksum || e.Build == from.Build && from.Build != ""):
			return nil
		case e.NEVRA == p.NEVRA && !rules.Replace:
			return refuse("raise Release in the spec", "build %s has published another package of this name and "+
				"version, with SHA-256 %.12s; this one has %.12s", e.Build, e.Checksum, p.Checksum)
		case e.NEVRA == p.NEVRA:
			replaced = e
		case rules.RefuseLower && e.Compare(p.NEVRA) > 0:
			return refuse("raise Version or Release in the spec", "%s is published, which is newer", e.NEVRA)
		}
	}
	if replaced != nil {
		d.drop(replaced)
	}
	e := &Entry{ID: p.ID, Origin: from, Since: d.state.Revision + 1}
	d.added = append(d.added, addition{p, e})
	d.note(e)
	return nil
}

// Has reports whether the next revision has a package of this build; any build's if it is empty.
func (d *Draft) Has(n rpmfile.NEVRA, build string) bool {
	return slices.ContainsFunc(d.index[nameArch{n.Name, n.Arch}], func(e *Entry) bool {
		return e.NEVRA == n && (e.Build == build || build == "")
	})
}

// Remove takes a package out, and reports whether it was there.
func (d *Draft) Remove(n rpmfile.NEVRA) bool {
	for _, e := range d.index[nameArch{n.Name, n.Arch}] {
		if e.NEVRA == n {
			d.drop(e)
			return true
		}
	}
	return false
}

func (d *Draft) drop(e *Entry) {
	k := nameArch{e.Name, e.Arch}
	d.index[k] = slices.DeleteFunc(d.index[k], func(other *Entry) bool { return other == e })
	before := len(d.added)
	d.added = slices.DeleteFunc(d.added, func(a addition) bool { return a.entry == e })
	if len(d.added) == before {
		d.removed[e.NEVRA] = true
	}
}

// Keep is what stays of a package's builds: the latest, those that are younger than Age, and always the one with the
// highest version. Without any value all of them stay.
type Keep struct {
	Builds int // 1 if there is an age alone
	Age    time.Duration
}

// Keep takes out what does not stay. A build's packages are kept or taken out together, by when it ended.
func (d *Draft) Keep(keep Keep, now time.Time) {
	if keep == (Keep{}) {
		return
	}
	type build struct {
		built   time.Time
		id      string
		highest rpmfile.NEVRA
		entries []*Entry
	}
	type key struct{ pkg, build string }
	builds, packages := map[key]*build{}, map[string][]*build{}
	for _, all := range d.index {
		for _, e := range all {
			k := key{cmp.Or(e.Package, e.Name), e.Build}
			b := builds[k]
			if b == nil {
				b = &build{built: e.Built, id: e.Build}
				builds[k] = b
				packages[k.pkg] = append(packages[k.pkg], b)
			}
			if e.Compare(b.highest) > 0 {
				b.highest = e.NEVRA
			}
			b.entries = append(b.entries, e)
		}
	}
	for _, all := range packages {
		slices.SortFunc(all, func(a, b *build) int { return cmp.Or(b.built.Compare(a.built), cmp.Compare(b.id, a.id)) })
		highest := slices.MaxFunc(all, func(a, b *build) int { return a.highest.Compare(b.highest) })
		for _, b := range all[min(len(all), max(1, keep.Builds)):] {
			if b != highest && now.Sub(b.built) >= keep.Age {
				for _, e := range b.entries {
					d.drop(e)
				}
			}
		}
	}
}
