package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/viper"

	"github.com/rpmflow/rpmflow/internal/nearest"
)

// loader is one Load: what it reads from, and the problems and warnings that it collects on the way.
type loader struct {
	file       string
	dir        string // the file's directory, absolute
	program    Program
	env        map[string]string
	referenced map[string]bool // variables that hold secrets
	unread     bool            // the file is not YAML, so the variables that it refers to are not known
	problems   []problem
	warnings   []string
}

// place is where something was given, as errors name it. The zero place is that of the defaults.
type place struct {
	name string // the file, a variable, or the command line
	line int    // in the file, else 0
}

func (p place) String() string {
	if p.line > 0 {
		return fmt.Sprintf("%s:%d", p.name, p.line)
	}
	return p.name
}

type problem struct {
	line int
	err  error
}

// given is the value of one key in one place.
type given struct {
	values []string
	from   place
	dir    string // where relative paths start; empty: the working directory
	bad    bool   // already reported, so it is not applied
}

// layer is what one source sets, by path.
type layer map[string]given

// problem notes what is wrong with a key; without a key, with the place as a whole.
func (l *loader) problem(from place, key string, err error) {
	// Several problems of one value, a list, each get a line of their own.
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			l.problem(from, key, e)
		}
		return
	}
	for _, where := range []string{key, from.String()} {
		if where != "" {
			err = fmt.Errorf("%s: %w", where, err)
		}
	}
	l.problems = append(l.problems, problem{from.line, err})
}

// wrong notes what is wrong with a key of an entry.
func (l *loader) wrong(e entry, key, format string, args ...any) {
	l.problem(e.keys[key].from, within(e.scope, key), fmt.Errorf(format, args...))
}

func (l *loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// err joins the problems: those of the file first, by line.
func (l *loader) err() error {
	slices.SortStableFunc(l.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(min(b.line, 1), min(a.line, 1)), cmp.Compare(a.line, b.line))
	})
	errs := make([]error, 0, len(l.problems))
	for _, p := range l.problems {
		errs = append(errs, p.err)
	}
	return errors.Join(errs...)
}

// environment makes a map of what os.Environ returns; the last of equal names counts, as for os/exec.
func environment(list []string) map[string]string {
	env := make(map[string]string, len(list))
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	return env
}

// fromEnv reads the variables of all keys. An empty variable is ignored: compose files pass on what is not set.
func (l *loader) fromEnv(settings []setting) layer {
	out := layer{}
	for _, s := range settings {
		if v := l.env[envOf(s.path)]; v != "" {
			out[s.path] = given{values: []string{v}, from: place{name: envOf(s.path)}}
		}
	}
	l.oneWayEach("", settings, out)
	return out
}

func (l *loader) fromFlags(settings []setting, flags map[string]string) layer {
	out, from := layer{}, place{name: "command line"}
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		if path == "projects" || path == "targets" {
			l.problem(from, path, errors.New("can be set in the configuration file only: leave the flag out"))
			continue
		}
		if !slices.ContainsFunc(settings, func(s setting) bool { return s.path == path }) {
			l.problem(from, path, unknown(path, paths(settings)))
			continue
		}
		out[path] = given{values: []string{flags[path]}, from: from}
	}
	l.oneWayEach("", settings, out)
	return out
}

// merge lays file, environment and flags over the defaults. viper applies the order of precedence. It gets whole keys,
// with a delimiter that occurs in none of them, and values as text, so that it neither splits keys nor converts values
// (a password 0123 would become 83).
func (l *loader) merge(settings []setting, file, env, flags layer) layer {
	v := viper.NewWithOptions(viper.KeyDelimiter("::"))
	for _, s := range settings {
		v.SetDefault(s.path, s.defaults())
	}
	for _, weaker := range []layer{file, env} {
		values := map[string]any{}
		for path, g := range weaker {
			values[path] = g.values
		}
		if err := v.MergeConfigMap(values); err != nil {
			l.problem(place{}, "", fmt.Errorf("merge configuration: %w", err))
		}
	}
	for path, g := range flags {
		v.Set(path, g.values)
	}
	out := layer{}
	for _, s := range settings {
		var g given
		for _, in := range []layer{file, env, flags} { // the strongest that has the key is its place
			if stronger, ok := in[s.path]; ok {
				g = stronger
			}
		}
		g.values = v.GetStringSlice(s.path)
		out[s.path] = g
	}
	return out
}

func (s setting) defaults() []string {
	if s.list && s.def == "" {
		return nil
	}
	if s.list {
		return strings.Split(s.def, ",")
	}
	return []string{s.def}
}

// apply hands what was given, or the default, to the fields.
func (l *loader) apply(scope string, settings []setting, in layer) {
	for _, s := range settings {
		g, ok := in[s.path]
		switch {
		case g.bad, s.must && !ok:
			continue
		case !ok:
			g.values = s.defaults()
		}
		if err := s.set(input{values: g.values, dir: g.dir}); err != nil {
			l.problem(g.from, within(scope, s.path), err)
		}
	}
}

// unknownEnv refuses variables of ours that set nothing: they are misspelt.
func (l *loader) unknownEnv(settings []setting) {
	// not keys: which file, which part of us, which listener
	known := []string{"RPMFLOW_CONFIG", "RPMFLOW_CHILD", "RPMFLOW_SERVER"}
	for _, s := range settings {
		known = append(known, envOf(s.path))
	}
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		switch {
		case l.unread, !strings.HasPrefix(name, "RPMFLOW_"), slices.Contains(known, name), l.referenced[name]:
		case name == "RPMFLOW_PROJECTS", name == "RPMFLOW_TARGETS":
			l.problem(place{name: name}, "",
				errors.New("projects and targets can be set in the configuration file only: "+
					"unset it"))
		default:
			l.problem(place{name: name}, "", fmt.Errorf("unknown environment variable: the nearest known one is %s; "+
				"correct or unset it", nearest.Name(name, known)))
		}
	}
}

func unknown(path string, known []string) error {
	return fmt.Errorf("unknown key: the nearest known key is %s; correct or remove it", nearest.Name(path, known))
}

func paths(settings []setting) []string {
	out := make([]string, 0, len(settings))
	for _, s := range settings {
		out = append(out, s.path)
	}
	return out
}
