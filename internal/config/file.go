package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rpmflow/rpmflow"
)

// document is what the file contains.
type document struct {
	keys              layer
	targets, projects []entry
}

// entry is one element of a list of the file.
type entry struct {
	scope string // projects[2]
	from  place
	keys  layer
	lists map[string][]entry // the lists in it that are not empty
}

// inner is a list of entries in each entry of another.
type inner struct {
	name     string
	settings []setting
}

// name is the entry's name as it was written, right or wrong.
func (e entry) name() string {
	if g, ok := e.keys["name"]; ok && !g.bad {
		return g.values[0]
	}
	return ""
}

// scope is a part of the file whose keys are known.
type scope struct {
	name     string
	settings []setting
	out      layer
	lists    map[string]func(n *yaml.Node) // the lists of entries in it
}

// parse reads the file's structure with the YAML parser itself instead of viper: only so errors have line numbers, keys
// keep their case, duplicates are seen, and values stay as they were written.
func (l *loader) parse(data []byte, settings []setting) document {
	doc := document{keys: layer{}}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root, second yaml.Node
	if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
		return doc
	} else if err != nil {
		l.syntax(err)
		return doc
	}
	if err := decoder.Decode(&second); err == nil {
		l.problem(l.at(&second), "", errors.New("a second YAML document begins here: put everything into one"))
	} else if !errors.Is(err, io.EOF) {
		l.syntax(err)
	}
	l.mapping(root.Content[0], "", scope{settings: settings, out: doc.keys, lists: map[string]func(*yaml.Node){
		"targets": func(n *yaml.Node) {
			doc.targets = l.entries(n, "targets", targetSettings(new(rpmflow.Target)))
		},
		"projects": func(n *yaml.Node) {
			doc.projects = l.entries(n, "projects", projectSettings(new(rpmflow.Project), l),
				inner{"packages", packageSettings(new(rpmflow.PackageSource))})
		},
	}})
	l.oneWayEach("", settings, doc.keys)
	return doc
}

// syntax reports what the YAML parser refused.
func (l *loader) syntax(err error) {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	switch {
	// It quotes the name, and a password that begins with * looks like one.
	case strings.Contains(message, "unknown anchor"):
		message = "an alias (*…) has no anchor: put quotes around a value that begins with *"
	case strings.Contains(message, "alphabetic or numeric"): // of the name behind * or &
		message += ": put quotes around values that begin with * or &"
	case strings.Contains(message, "cannot start any token"):
		message += ": indent with spaces instead of tabs, and put quotes around values that begin with @ or `"
	}
	l.unread = true
	l.problem(place{name: l.file}, "", fmt.Errorf("not YAML: %s", message))
}

func (l *loader) at(n *yaml.Node) place { return place{l.file, n.Line} }

// mapping reads the keys under prefix.
func (l *loader) mapping(n *yaml.Node, prefix string, in scope) {
	n = target(n)
	shown := within(in.name, prefix)
	if prefix == "" {
		shown = in.name
	}
	if empty(n) {
		return // a section whose keys are all commented out
	}
	if n.Kind != yaml.MappingNode {
		l.problem(l.at(n), shown, fmt.Errorf("want keys with values (key: value), got %s", what(n)))
		return
	}
	for _, p := range l.pairs(n, shown) {
		path := p.key.Value
		if prefix != "" {
			path = prefix + "." + path
		}
		if i := slices.IndexFunc(in.settings, func(s setting) bool { return s.path == path }); i >= 0 {
			in.out[path] = l.value(p.value, in.settings[i], within(in.name, path))
		} else if list, ok := in.lists[path]; ok {
			list(p.value)
		} else if slices.Contains(sections(in.settings), path) {
			l.mapping(p.value, path, in)
		} else {
			known := slices.Concat(paths(in.settings), sections(in.settings))
			known = slices.AppendSeq(known, maps.Keys(in.lists))
			slices.Sort(known)
			for i := range known {
				known[i] = within(in.name, known[i])
			}
			path = within(in.name, path)
			l.problem(l.at(p.key), shorten(path), unknown(path, known))
		}
	}
}

func shorten(path string) string {
	if quoted := quote(path); quoted[1:len(quoted)-1] != path {
		return quoted
	}
	return path
}

// sections are the mappings that contain the settings.
func sections(settings []setting) []string {
	var out []string
	for _, s := range settings {
		for i, r := range s.path {
			if r == '.' && !slices.Contains(out, s.path[:i]) {
				out = append(out, s.path[:i])
			}
		}
	}
	return out
}

type pair struct{ key, value *yaml.Node }

// pairs lists the keys of a mapping with those that it merges in (<<: *other), which its own keys hide.
func (l *loader) pairs(n *yaml.Node, shown string) []pair {
	var own, merged []pair
	lines := map[string]int{}
	visited := map[*yaml.Node]bool{n: true} // an anchor may be inside what it names
	var merge func(n *yaml.Node)
	merge = func(n *yaml.Node) {
		n = target(n)
		if visited[n] {
			return
		}
		visited[n] = true
		switch n.Kind {
		case yaml.SequenceNode:
			for _, c := range n.Content {
				merge(c)
			}
		case yaml.MappingNode:
			var further []*yaml.Node
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Tag == "!!merge" {
					further = append(further, n.Content[i+1])
				} else {
					merged = append(merged, pair{n.Content[i], n.Content[i+1]})
				}
			}
			for _, f := range further {
				merge(f)
			}
		default:
			l.problem(l.at(n), shown, fmt.Errorf("want an alias of keys with values (<<: *name), got %s", what(n)))
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch first, twice := lines[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			l.problem(l.at(key), shown, fmt.Errorf("want a word as key, got %s", what(key)))
		case key.Tag == "!!merge":
			merge(n.Content[i+1])
		case twice:
			path := key.Value
			if shown != "" {
				path = shown + "." + path
			}
			l.problem(l.at(key), shorten(path), fmt.Errorf("is set twice, first in line %d: keep one of them", first))
		default:
			lines[key.Value] = key.Line
			own = append(own, pair{key, n.Content[i+1]})
		}
	}
	for _, p := range merged {
		if _, hidden := lines[p.key.Value]; !hidden && p.key.Kind == yaml.ScalarNode {
			lines[p.key.Value] = p.key.Line
			own = append(own, p)
		}
	}
	return own
}

// value takes what one key was given as text, exactly as it was written.
func (l *loader) value(n *yaml.Node, s setting, shown string) given {
	g := given{from: l.at(n), dir: l.dir}
	fail := func(at *yaml.Node, format string, args ...any) given {
		l.problem(l.at(at), shown, fmt.Errorf(format, args...))
		g.bad = true
		return g
	}
	// In a secret without quotes, & * and ! at the beginning would be taken for YAML's own and be lost.
	if s.group != "" && (n.Kind == yaml.AliasNode || n.Anchor != "") {
		return fail(n, "begins with & or *, which are special in YAML: put quotes around it")
	}
	items := []*yaml.Node{target(n)}
	if items[0].Kind == yaml.SequenceNode && s.list {
		items = items[0].Content
	}
	for _, item := range items {
		item = target(item)
		switch {
		case item.Kind != yaml.ScalarNode:
			return fail(item, "want %s, got %s", article(s.typ), what(item))
		case item.Style&yaml.TaggedStyle != 0:
			return fail(item, "has a tag (!…), which has no meaning here: "+
				"remove it, or put quotes around a value that begins with !")
		case empty(item):
			return fail(item, "has no value: give it one (\"\" is empty), or remove the key; one that begins with # "+
				"needs quotes")
		}
		g.values = append(g.values, item.Value)
	}
	return g
}

// entries reads a list of mappings, and the lists in them.
func (l *loader) entries(n *yaml.Node, name string, settings []setting, inside ...inner) []entry {
	n = target(n)
	if empty(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		l.problem(l.at(n), name, fmt.Errorf("want a list, whose entries begin with \"- name: …\", got %s", what(n)))
		return nil
	}
	var out []entry
	for i, c := range n.Content {
		e := entry{scope: fmt.Sprintf("%s[%d]", name, i), from: l.at(c), keys: layer{}, lists: map[string][]entry{}}
		if empty(target(c)) {
			l.problem(e.from, e.scope, errors.New("is empty: give it a name, or remove it"))
			continue
		}
		before := len(l.problems)
		lists := map[string]func(*yaml.Node){}
		for _, list := range inside {
			lists[list.name] = func(n *yaml.Node) {
				e.lists[list.name] = l.entries(n, within(e.scope, list.name), list.settings)
			}
		}
		l.mapping(c, "", scope{name: e.scope, settings: settings, out: e.keys, lists: lists})
		if target(c).Kind != yaml.MappingNode && len(l.problems) > before {
			continue
		}
		for _, s := range settings {
			if _, ok := e.keys[s.path]; s.must && !ok {
				l.problem(e.from, within(e.scope, s.path), errors.New("is missing: give it one"))
			}
		}
		l.oneWayEach(e.scope, settings, e.keys)
		out = append(out, e)
	}
	return out
}

// target is what an alias stands for, or the node itself.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func empty(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// what names a node's kind. Its text is not shown: it may be a secret.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

func article(typ string) string {
	if strings.Contains(typ, "|") {
		return "one of " + typ
	}
	if strings.ContainsRune("aeiou", rune(typ[0])) {
		return "an " + typ
	}
	return "a " + typ
}
