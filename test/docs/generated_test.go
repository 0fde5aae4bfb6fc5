package docs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rpmflow/rpmflow"
	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the generated parts of the documentation")

const howToUpdate = "run: go test ./test/docs -run Generated -update"

// TestGenerated compares the parts of the documentation that are made from code and schemas with these.
func TestGenerated(t *testing.T) {
	for _, g := range []struct {
		file, part string
		text       string
	}{
		{"docs/configuration.md", "keys", configuration()},
		{"docs/packaging.md", "layouts", layouts()},
		{"docs/events.md", "fields", fields(t)},
		{"docs/architecture.md", "packages", packages(t)},
	} {
		text := read(t, g.file)
		begin, end := "<!-- "+g.part+": generated, "+howToUpdate+" -->\n", "<!-- end -->\n"
		head, rest, ok := strings.Cut(text, begin)
		old, tail, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Errorf("%s: there is no part between %q and %q", g.file, begin, end)
			continue
		}
		want := "\n" + g.text + "\n"
		if old == want {
			continue
		}
		if !*update {
			t.Errorf("%s: the part %q is not up to date: %s", g.file, g.part, howToUpdate)
			continue
		}
		testkit.Must(t, os.WriteFile(filepath.Join(root, g.file), []byte(head+begin+want+end+tail), 0o644))
	}
}

// row makes a row of a table; a bar in a cell would end it.
func row(b *strings.Builder, cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", `\|`)
	}
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func head(b *strings.Builder, cells ...string) {
	row(b, slices.Clone(cells)...)
	b.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
}

// wrapped is a paragraph in lines of prose.
func wrapped(text string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		width := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+width > maxWidth:
			b.WriteString("\n")
			column = 0
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += width
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// configuration lists the keys, a table for each section.
func configuration() string {
	var b strings.Builder
	section, first := "", true
	for _, k := range slices.Concat(config.Keys(), config.ListKeys()) {
		name, _, inSection := strings.Cut(k.Path, ".")
		if !inSection {
			name = "Outside of any section"
		}
		if first || name != section {
			if !first {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "### %s\n\n", name)
			if k.Env == "" {
				head(&b, "Key", "Type", "Default", "Meaning")
			} else {
				head(&b, "Key", "Variable", "Type", "Default", "Meaning")
			}
			section, first = name, false
		}
		if k.Env == "" {
			row(&b, code(k.Path), k.Type, code(k.Default), k.Doc)
		} else {
			row(&b, code(k.Path), code(k.Env), k.Type, code(k.Default), k.Doc)
		}
	}
	return b.String()
}

func layouts() string {
	var b strings.Builder
	head(&b, "`layout`", "The repository has")
	for _, l := range rpmflow.Layouts {
		row(&b, code(string(l.Layout)), l.Meaning)
	}
	return b.String()
}

// schema is the part of JSON Schema that the field tables show.
type schema struct {
	Ref         string `json:"$ref"`
	Description string
	Type        string
	Const       any
	Enum        []string
	Items       json.RawMessage
	AllOf       []schema
	Required    []string
	Properties  ordered
}

// ordered are properties in the order in which the file has them.
type ordered []property

type property struct {
	name string
	schema
}

func (o *ordered) UnmarshalJSON(raw []byte) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		p := property{name: fmt.Sprint(name)}
		if string(value) != "false" {
			if err := json.Unmarshal(value, &p.schema); err != nil {
				return err
			}
		}
		*o = append(*o, p)
	}
	return nil
}

// described is how the tables call what the schemas define; what is not here is described by its own type.
func described(ref string) string {
	_, name, _ := strings.Cut(ref, "#/$defs/")
	switch name {
	case "id":
		return "UUID"
	case "name", "arch", "ref", "text", "time":
		return name
	case "commit", "commitOrNone":
		return "commit id"
	case "nevra":
		return "NEVRA"
	case "repository_url":
		return "text"
	case "half":
		return "`source` or `packaging`"
	case "phaseName":
		return "a phase"
	case "push", "build", "sources", "options", "macro", "repository", "mock_option", "root", "split", "revision",
		"substitution", "phase", "cancel", "waiting", "outcome", "package", "source_file", "source_package", "artifact",
		"publication", "published_repository", "published_package", "refused_package", "held_back":
		return fmt.Sprintf("[%s](#%s)", name, name)
	}
	return ""
}

func typeOf(t *testing.T, s schema) string {
	t.Helper()
	switch {
	case s.Ref != "":
		if d := described(s.Ref); d != "" {
			return d
		}
		t.Errorf("the field tables have no word for %s", s.Ref)
	case s.Const != nil:
		return code(fmt.Sprint(s.Const))
	case len(s.Enum) > 0:
		var words []string
		for _, e := range s.Enum {
			words = append(words, code(e))
		}
		return strings.Join(words, ", ")
	case s.Type == "array":
		var items schema
		testkit.Must(t, json.Unmarshal(s.Items, &items))
		if len(items.AllOf) > 0 {
			items = items.AllOf[0]
		}
		return "list of " + typeOf(t, items)
	case s.Type == "string":
		return "text"
	}
	return s.Type
}

// fields has a table for each object that travels.
func fields(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	table := func(title, intro string, s schema) {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "### %s\n\n", title)
		if intro != "" {
			fmt.Fprintf(&b, "%s\n\n", wrapped(intro))
		}
		head(&b, "Field", "Type", "Always", "Meaning")
		for _, p := range s.Properties {
			always := ""
			if slices.Contains(s.Required, p.name) {
				always = "yes"
			}
			if p.Description == "" && p.Ref == "" && p.Const == nil {
				t.Errorf("%s.%s has no description in the schema", title, p.name)
			}
			row(&b, code(p.name), typeOf(t, p.schema), always, p.Description)
		}
	}
	load := func(file string) (whole schema, defs map[string]schema) {
		raw, err := eventschema.Files.ReadFile(file)
		testkit.Must(t, err)
		var d struct {
			Defs map[string]schema `json:"$defs"`
		}
		testkit.Must(t, json.Unmarshal(raw, &whole))
		testkit.Must(t, json.Unmarshal(raw, &d))
		return whole, d.Defs
	}
	build, defs := load(eventschema.Build)
	_, pushDefs := load(eventschema.Push)
	table("CloudEvent", "Events of pushes have the same attributes; their subject is the push's id and their data a "+
		"[push](#push). Those of publications have the target as their subject, and a [publication](#publication).",
		build)
	for _, name := range []string{"build", "split", "revision", "substitution", "sources", "options", "macro",
		"repository", "mock_option", "root", "phase", "cancel", "waiting", "outcome", "package", "source_file",
		"source_package", "artifact"} {
		table(name, defs[name].Description, defs[name])
	}
	table("push", pushDefs["push"].Description, pushDefs["push"])
	_, published := load(eventschema.Published)
	for _, name := range []string{"publication", "published_repository", "published_package", "refused_package",
		"held_back"} {
		table(name, published[name].Description, published[name])
	}
	return b.String()
}

// pkg is a package of ours.
type pkg struct {
	path    string // below the module
	doc     string // the first sentence of its comment
	imports []string
}

// short is the package as documents name it.
func (p pkg) short() string {
	if p.path == "" {
		return "the root"
	}
	return strings.TrimPrefix(p.path, "internal/")
}

func listPackages(t *testing.T) (all []pkg) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "list", "-f", `{{.ImportPath}}|{{.Doc}}|{{join .Imports " "}}`, ".",
		"./cmd/...",
		"./internal/...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	const module = "github.com/rpmflow/rpmflow"
	below := func(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }
	for line := range strings.Lines(string(out)) {
		parts := strings.Split(strings.TrimSpace(line), "|")
		p := pkg{path: below(parts[0]), doc: parts[1]}
		for _, i := range strings.Fields(parts[2]) {
			if strings.HasPrefix(i, module) {
				p.imports = append(p.imports, pkg{path: below(i)}.short())
			}
		}
		all = append(all, p)
	}
	return all
}

// packages lists the packages with the first sentence of their comment and what of ours they import.
func packages(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	head(&b, "Package", "What it is", "Imports of ours")
	for _, p := range listPackages(t) {
		name := code(p.path)
		if name == "" {
			name = p.short()
		}
		row(&b, name, p.doc, strings.Join(p.imports, ", "))
	}
	return b.String()
}

// TestPicture holds the picture of the packages to their imports: these lead to rows further down.
func TestPicture(t *testing.T) {
	const file = "docs/architecture.md"
	all := blocks(t, file)
	i := slices.IndexFunc(all, func(b block) bool { return strings.HasPrefix(b.text, "cmd/listener") })
	if i < 0 {
		t.Fatalf("%s has no picture that begins with cmd/listener", file)
	}
	rows := map[string]int{}
	for n, line := range strings.Split(strings.TrimSpace(all[i].text), "\n") {
		names, _, _ := strings.Cut(line, "|")
		for _, name := range strings.Split(strings.TrimSpace(names), "  ") {
			rows[strings.TrimSpace(name)] = n + 1
		}
	}
	missing := maps.Clone(rows)
	for _, p := range listPackages(t) {
		mine, known := rows[p.short()]
		if !known && !strings.Contains(p.path, "test") { // what serves tests alone is not in it
			t.Errorf("%s: package %s is not in the picture", file, p.short())
		}
		delete(missing, p.short())
		for _, i := range p.imports {
			if row, ok := rows[i]; ok && known && row <= mine {
				t.Errorf("%s: package %s imports %s, which is not below it", file, p.short(), i)
			}
		}
	}
	for name := range missing {
		t.Errorf("%s: the picture has %s, which is not a package", file, name)
	}
}
