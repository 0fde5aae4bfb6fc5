package repo

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Bits of a dependency's flags (rpmds.h).
const (
	senseLess       = 1 << 1
	senseGreater    = 1 << 2
	senseEqual      = 1 << 3
	senseComparison = 0xf
	sensePosttrans  = 1 << 5
	sensePrereq     = 1 << 6
	sensePretrans   = 1 << 7
	sensePre        = 1 << 9
	sensePost       = 1 << 10
	senseMissingOK  = 1 << 19

	// A requirement with one of these is needed while the package is installed, not only afterwards.
	senseScripts = sensePosttrans | sensePrereq | sensePretrans | sensePre | sensePost
)

// dependency is an entry of provides, requires and so on. Its name may be a rich dependency as a whole.
type dependency struct {
	name, comparison        string
	epoch, version, release string
	pre                     bool
}

func (d dependency) write(w *writer) {
	attributes := []string{"name", d.name}
	if d.comparison != "" {
		attributes = append(attributes, "flags", d.comparison)
		for _, a := range [][2]string{{"epoch", d.epoch}, {"ver", d.version}, {"rel", d.release}} {
			if a[1] != "" {
				attributes = append(attributes, a[:]...)
			}
		}
	}
	if d.pre {
		attributes = append(attributes, "pre", "1")
	}
	w.element("rpm:entry", "", attributes...)
}

// sense is a dependency as the header has it.
type sense struct {
	name    string
	flags   uint64
	version string
}

// list is a kind of dependencies: its element, and the tags of names, flags and versions.
type list struct {
	element              string
	name, flags, version int
}

// In the order of the metadata.
func lists() []list {
	return []list{{provides, 1047, 1112, 1113}, {requires, 1049, 1048, 1050}, {"conflicts", 1054, 1053, 1055},
		{"obsoletes", 1090, 1114, 1115}, {"suggests", 5049, 5051, 5050}, {"enhances", 5055, 5057, 5056},
		{recommends, 5046, 5048, 5047}, {"supplements", 5052, 5054, 5053}}
}

const provides, requires, recommends = "provides", "requires", "recommends"

func (h *header) senses(l list) []sense {
	names, bits, versions := h.Texts(l.name), h.Numbers(l.flags), h.Texts(l.version)
	if bits == nil || versions == nil || !h.same(l.element, len(names), len(bits), len(versions)) {
		return nil
	}
	all := make([]sense, len(names))
	for i := range all {
		all[i] = sense{names[i], bits[i], versions[i]}
	}
	return all
}

// parsed splits the version. An epoch that is not a number makes the dependency one that nobody can compare.
func (s sense) parsed() (dependency, bool) {
	d := dependency{name: s.name}
	switch s.flags & senseComparison {
	case senseLess:
		d.comparison = "LT"
	case senseGreater:
		d.comparison = "GT"
	case senseEqual:
		d.comparison = "EQ"
	case senseLess | senseEqual:
		d.comparison = "LE"
	case senseGreater | senseEqual:
		d.comparison = "GE"
	}
	if s.version == "" {
		return d, true
	}
	epoch, rest, has := strings.Cut(s.version, ":")
	if !has {
		epoch, rest = "", s.version
	} else if _, err := strconv.ParseUint(epoch, 10, 63); epoch != "" && err != nil {
		return d, false
	}
	d.epoch = cmp.Or(epoch, "0")
	d.version, d.release, _ = strings.Cut(rest, "-")
	return d, true
}

// dependencies are all of a package, by their element.
func (h *header) dependencies(files []file) map[string][]dependency {
	all := map[string][]dependency{}
	var provided []sense
	for _, l := range lists() {
		senses := h.senses(l)
		switch l.element {
		case requires:
			all[requires], all[recommends] = requirements(senses, provided, files)
			continue
		case provides:
			provided = senses
		}
		for _, s := range senses {
			if d, ok := s.parsed(); ok && d.name != "" {
				all[l.element] = append(all[l.element], d)
			}
		}
	}
	return all
}

// requirements leaves out what readers need not look for, by createrepo_c's rules: features of rpm, files and provides
// of the package itself, repetitions, and versions of libc below the highest. What may be missing is a recommendation.
func requirements(senses, provides []sense, files []file) (requires, recommends []dependency) {
	type key struct{ name, comparison, version string }
	provided, own := map[key]bool{}, map[string]bool{}
	for _, s := range provides {
		d, ok := s.parsed()
		provided[key{s.name, d.comparison, s.version}] = ok
	}
	for _, f := range files {
		own[f.name] = true
	}
	type repetition struct {
		key
		pre bool
	}
	last := map[string]repetition{} // by name
	var libc *dependency
	for _, s := range senses {
		d, ok := s.parsed()
		d.pre = s.flags&senseScripts != 0
		k := key{s.name, d.comparison, s.version}
		previous, again := last[s.name]
		switch {
		case strings.HasPrefix(s.name, "rpmlib("), own[s.name] && isPrimary(s.name), provided[k],
			again && previous == repetition{k, d.pre}, !ok, s.name == "":
		case s.flags&senseMissingOK != 0:
			d.pre = false
			recommends = append(recommends, d)
		case strings.HasPrefix(s.name, "libc.so.6"):
			if libc == nil || libcOlder(libc.name, d.name) {
				libc = &d
			}
		default:
			requires = append(requires, d)
			last[s.name] = repetition{k, d.pre}
		}
	}
	if libc != nil {
		requires = append(requires, *libc)
	}
	return requires, recommends
}

// libcOlder compares "libc.so.6(GLIBC_2.4)(64bit)" and the like by the version in the first brackets, as createrepo_c
// does (cr_compare_dependency): without brackets < nothing in them < no digit in them < a version.
func libcOlder(a, b string) bool {
	rank := func(name string) (int, string) {
		_, rest, open := strings.Cut(name, "(")
		in, _, closed := strings.Cut(rest, ")")
		digits := strings.IndexAny(in, "0123456789")
		switch {
		case !open:
			return 0, ""
		case !closed:
			return 1, ""
		case in == "":
			return 2, ""
		case digits < 0:
			return 3, ""
		}
		return 4, in[digits:]
	}
	m, v := rank(a)
	n, w := rank(b)
	return m < n || m == n && rpmfile.Vercmp(v, w) < 0
}
