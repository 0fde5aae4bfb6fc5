package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const reference = "../../docs/api.md"

func TestReferenceIsGenerated(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(reference)
	testkit.Must(t, err)
	begin, end := "<!-- routes: generated, "+howToUpdate+" -->\n", "<!-- end -->\n"
	head, rest, ok := strings.Cut(string(raw), begin)
	old, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s: there is no part between %q and %q", reference, begin, end)
	}
	want := "\n" + markdown() + "\n"
	if old == want {
		return
	}
	if !*update {
		t.Fatalf("%s is not up to date: %s", reference, howToUpdate)
	}
	testkit.Must(t, os.WriteFile(reference, []byte(head+begin+want+end+tail), 0o644))
}

// markdown has a section for each route, and one for each wire type.
func markdown() string {
	var b strings.Builder
	table(&b, "Route", "Access", "Summary")
	for _, r := range api.Routes() {
		row(&b, fmt.Sprintf("[`%s %s`](#%s)", r.Method, r.URLPath(), anchor(r)), access(r.Access), r.Summary)
	}
	for _, r := range api.Routes() {
		route(&b, r)
	}
	fmt.Fprint(&b, "\n## Objects\n")
	for _, typ := range types() {
		fmt.Fprintf(&b, "\n### %s\n\n", typ.Name())
		table(&b, "Field", "Type", "Always", "Meaning")
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			always := "yes"
			if option != "" {
				always = ""
			}
			row(&b, "`"+name+"`", typeName(f.Type), always, f.Tag.Get("doc"))
		}
	}
	return strings.TrimSuffix(b.String(), "\n") + "\n"
}

func route(b *strings.Builder, r api.Route) {
	fmt.Fprintf(b, "\n### %s %s\n\n%s Access: %s.\n", r.Method, r.URLPath(), r.Summary, access(r.Access))
	if r.Text != "" {
		fmt.Fprintf(b, "%s\n", wrapped(r.Text))
	}
	if len(r.Params) > 0 {
		fmt.Fprint(b, "\n")
		table(b, "Parameter", "In", "Meaning")
		for _, p := range r.Params {
			text := p.Text
			if p.Values != nil {
				text += " One of: `" + strings.Join(p.Values, "`, `") + "`."
			}
			if p.Repeats {
				text += " It may be given several times."
			}
			row(b, "`"+p.Name+"`", string(p.In), text)
		}
	}
	if r.Body != nil {
		fmt.Fprintf(b, "\nBody: `%s`", r.Body.Media)
		if r.Body.Type != nil {
			fmt.Fprintf(b, ", %s", typeName(reflect.TypeOf(r.Body.Type)))
		}
		if r.Body.Optional {
			fmt.Fprint(b, "; it may be empty")
		}
		fmt.Fprintln(b, strings.TrimRight(". "+r.Body.Text, " "))
	}
	fmt.Fprint(b, "\n")
	table(b, "Status", "When", "Body")
	for _, a := range r.Answers {
		body := "`" + a.Media + "`"
		if a.Media == "" {
			body = typeName(reflect.TypeOf(a.Type))
		}
		row(b, status(a.Status), a.When, body)
	}
	problems := slices.Clone(r.Problems)
	slices.SortStableFunc(problems, func(a, b api.Answer) int { return a.Status - b.Status })
	for _, p := range problems {
		row(b, status(p.Status), p.When, "[Problem](#problem)")
	}
}

func status(code int) string { return fmt.Sprintf("%d %s", code, http.StatusText(code)) }

func access(a api.Access) string {
	switch a {
	case api.Signed:
		return "signed body"
	case api.Token:
		return "token"
	}
	return "public"
}

// anchor is the one that forges make of a route's heading.
func anchor(r api.Route) string {
	drop := strings.NewReplacer("/", "", "{", "", "}", "", ".", "")
	return strings.ToLower(r.Method) + "-" + strings.ToLower(drop.Replace(r.URLPath()))
}

// types are the wire types, in the order in which the routes name them.
func types() (all []reflect.Type) {
	var add func(typ reflect.Type)
	add = func(typ reflect.Type) {
		switch {
		case typ.Kind() == reflect.Slice:
			add(typ.Elem())
		case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[rpmflow.Build]() && !slices.Contains(all, typ):
			all = append(all, typ)
			for i := range typ.NumField() {
				add(typ.Field(i).Type)
			}
		}
	}
	for _, r := range api.Routes() {
		if r.Body != nil && r.Body.Type != nil {
			add(reflect.TypeOf(r.Body.Type))
		}
		for _, a := range r.Answers {
			if a.Type != nil {
				add(reflect.TypeOf(a.Type))
			}
		}
	}
	add(reflect.TypeFor[httpd.Problem]())
	return all
}

func typeName(typ reflect.Type) string {
	switch {
	case typ == reflect.TypeFor[rpmflow.Build]():
		return "[build](events.md#build)"
	case typ.Kind() == reflect.Slice:
		return "list of " + typeName(typ.Elem())
	case typ.Kind() == reflect.Struct:
		return fmt.Sprintf("[%s](#%s)", typ.Name(), strings.ToLower(typ.Name()))
	case typ.Kind() == reflect.String:
		return "text"
	case typ.Kind() == reflect.Bool:
		return "boolean"
	case typ.Kind() == reflect.Int:
		return "integer"
	}
	return "number"
}

func table(b *strings.Builder, cells ...string) {
	row(b, cells...)
	b.WriteString("|" + strings.Repeat("---|", len(cells)) + "\n")
}

func row(b *strings.Builder, cells ...string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }

// TestExamples holds the JSON in the hand-written part of the reference to the wire types.
func TestExamples(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(reference)
	testkit.Must(t, err)
	examples := map[string]any{"Push": &api.Push{}, "Problem": &httpd.Problem{}}
	for name, into := range examples {
		_, rest, ok := strings.Cut(string(raw), "<!-- example: "+name+" -->\n```json\n")
		if !ok {
			t.Errorf("there is no example of %s", name)
			continue
		}
		text, _, _ := strings.Cut(rest, "```")
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wrapped is a paragraph with lines of at most 100 columns.
func wrapped(text string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > 100:
			b.WriteString("\n")
			column = 0
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
