package api_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rpmflow/rpmflow"
	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/httpd"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

var update = flag.Bool("update", false, "write openapi.json and the generated part of docs/api.md")

const howToUpdate = "run: go test ./internal/api -update"

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// document makes the OpenAPI document of the routes.
func document(t *testing.T) object {
	t.Helper()
	s := &schemas{t: t, all: object{}}
	paths := object{}
	for _, r := range api.Routes() {
		item, _ := paths[r.URLPath()].(object)
		if item == nil {
			item = object{}
			paths[r.URLPath()] = item
		}
		item[strings.ToLower(r.Method)] = operation(s, r)
	}
	return object{
		"openapi": "3.1.1",
		"info": object{
			"title": "rpmflow listener", "version": "1",
			"description": "Takes pushes and submissions, and answers about builds. Every error has the form of " +
				"Problem.",
		},
		"servers": []any{object{"url": "/"}},
		"paths":   paths,
		"components": object{
			"schemas": s.all,
			"securitySchemes": object{"token": object{
				"type": "http", "scheme": "bearer",
				"description": "listener.token. A listener without one lets only its own machine in.",
			}},
		},
	}
}

func operation(s *schemas, r api.Route) object {
	op := object{"operationId": r.Name, "summary": r.Summary, "responses": responses(s, r)}
	if r.Text != "" {
		op["description"] = r.Text
	}
	if r.Access == api.Token {
		op["security"] = []any{object{"token": []any{}}}
	}
	var params []any
	for _, p := range r.Params {
		params = append(params, parameter(p))
	}
	if params != nil {
		op["parameters"] = params
	}
	if b := r.Body; b != nil {
		content := object{}
		if b.Type != nil {
			content["schema"] = s.of(reflect.TypeOf(b.Type))
		}
		media := object{b.Media: content}
		if b.Form {
			media["application/x-www-form-urlencoded"] = object{"schema": object{"type": "object",
				"properties": object{"payload": object{"type": "string"}}, "required": []string{"payload"}}}
		}
		body := object{"content": media, "required": !b.Optional}
		if b.Text != "" {
			body["description"] = b.Text
		}
		op["requestBody"] = body
	}
	return op
}

func parameter(p api.Param) object {
	schema := object{"type": "string"}
	if p.Integer {
		schema["type"] = "integer"
	}
	if p.Values != nil {
		schema["enum"] = p.Values
	}
	if p.Repeats {
		schema = object{"type": "array", "items": schema}
	}
	param := object{"name": p.Name, "in": string(p.In), "description": p.Text, "schema": schema}
	if p.In == api.InPath || p.Required {
		param["required"] = true
	}
	return param
}

// responses has one entry for each status; a status can have several reasons and types.
func responses(s *schemas, r api.Route) object {
	all := object{}
	for _, status := range statuses(slices.Concat(r.Answers, r.Problems)) {
		var texts []string
		var media string
		var types []any
		contents := object{}
		for _, a := range r.Answers {
			if a.Status == status {
				contents[cmp.Or(a.Media, "application/json")] = object{}
				texts, media = append(texts, a.When), cmp.Or(a.Media, "application/json")
				if a.Type != nil {
					types = append(types, s.of(reflect.TypeOf(a.Type)))
				}
			}
		}
		for _, p := range r.Problems {
			if p.Status == status {
				texts, media = append(texts, p.When), "application/json"
				types = []any{s.of(reflect.TypeFor[httpd.Problem]())}
			}
		}
		content := object{}
		switch len(types) {
		case 0:
		case 1:
			content["schema"] = types[0]
		default:
			content["schema"] = object{"anyOf": types}
		}
		contents[media] = content
		all[strconv.Itoa(status)] = object{"description": strings.Join(texts, " "), "content": contents}
	}
	return all
}

func statuses(list []api.Answer) (all []int) {
	for _, a := range list {
		all = append(all, a.Status)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// schemas collects the schemas of the wire types.
type schemas struct {
	t   *testing.T
	all object
}

// of is the schema of a type; that of a struct is a reference.
func (s *schemas) of(typ reflect.Type) object {
	s.t.Helper()
	switch {
	case typ == reflect.TypeFor[rpmflow.Build]():
		s.record()
		return object{"$ref": "#/components/schemas/Build"}
	case typ == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case typ == reflect.TypeFor[rpmflow.Layout]():
		return object{"enum": rpmflow.LayoutNames()}
	}
	switch typ.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": s.of(typ.Elem())}
	case reflect.Struct:
		if _, ok := s.all[typ.Name()]; !ok {
			s.all[typ.Name()] = s.object(typ)
		}
		return object{"$ref": "#/components/schemas/" + typ.Name()}
	}
	s.t.Errorf("the schema of %s is not known", typ)
	return nil
}

func (s *schemas) object(typ reflect.Type) object {
	s.t.Helper()
	properties, required := object{}, []string{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		doc := f.Tag.Get("doc")
		if doc == "" {
			s.t.Errorf("%s.%s has no doc tag", typ, f.Name)
		}
		schema := s.of(f.Type)
		schema["description"] = doc
		properties[name] = schema
		if option == "" {
			required = append(required, name)
		}
	}
	return object{"type": "object", "additionalProperties": false, "required": required, "properties": properties}
}

var definition = regexp.MustCompile(`"#/\$defs/([A-Za-z_]+)"`)

// record takes the record of a build, and what it refers to, from the schema of its events.
func (s *schemas) record() {
	raw, err := eventschema.Files.ReadFile(eventschema.Build)
	testkit.Must(s.t, err)
	var file struct {
		Defs map[string]json.RawMessage `json:"$defs"`
	}
	testkit.Must(s.t, json.Unmarshal(raw, &file))
	name := func(def string) string {
		if def == "build" {
			return "Build"
		}
		return "Build." + def
	}
	for wanted := []string{"build"}; len(wanted) > 0; wanted = wanted[1:] {
		if _, ok := s.all[name(wanted[0])]; ok {
			continue
		}
		text := file.Defs[wanted[0]]
		for _, m := range definition.FindAllSubmatch(text, -1) {
			wanted = append(wanted, string(m[1]))
		}
		text = definition.ReplaceAllFunc(text, func(ref []byte) []byte {
			return []byte(`"#/components/schemas/` + name(string(definition.FindSubmatch(ref)[1])) + `"`)
		})
		var schema object
		if err := json.Unmarshal(text, &schema); err != nil {
			s.t.Fatalf("definition %s: %v", wanted[0], err)
		}
		s.all[name(wanted[0])] = schema
	}
}

func TestOpenAPIIsGenerated(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	testkit.Must(t, enc.Encode(document(t)))
	if api.OpenAPI == want.String() {
		return
	}
	if !*update {
		t.Fatalf("openapi.json is not up to date: %s", howToUpdate)
	}
	testkit.Must(t, os.WriteFile("openapi.json", want.Bytes(), 0o644))
}

// TestOpenAPIIsValid checks the document against the schema of OpenAPI 3.1, and compiles every schema in it.
func TestOpenAPIIsValid(t *testing.T) {
	t.Parallel()
	parse := func(raw string) any {
		t.Helper()
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(raw))
		testkit.Must(t, err)
		return doc
	}
	raw, err := os.ReadFile("testdata/openapi-3.1.schema.json")
	testkit.Must(t, err)
	const specification, ours = "https://spec.openapis.org/oas/3.1/schema.json", "https://rpmflow.dev/openapi.json"
	c := jsonschema.NewCompiler()
	for url, doc := range map[string]any{specification: parse(string(raw)), ours: parse(api.OpenAPI)} {
		testkit.Must(t, c.AddResource(url, doc))
	}
	schema, err := c.Compile(specification)
	testkit.Must(t, err)
	if err := schema.Validate(parse(api.OpenAPI)); err != nil {
		t.Error(err)
	}
	wrong := `{"openapi": "3.1.1", "info": {"title": "x", "version": "1"}, "paths": {"no slash": {}}}`
	if err := schema.Validate(parse(wrong)); err == nil {
		t.Error("a path without a slash is valid")
	}
	var doc struct {
		Components struct{ Schemas map[string]any }
	}
	testkit.Must(t, json.Unmarshal([]byte(api.OpenAPI), &doc))
	for name := range doc.Components.Schemas {
		if _, err := c.Compile(ours + "#/components/schemas/" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRoutes holds rules that the generators rely on.
func TestRoutes(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	inPath := regexp.MustCompile(`\{([a-z]+)\}`)
	for _, r := range api.Routes() {
		if names[r.Name] || r.Summary == "" || len(r.Answers) == 0 {
			t.Errorf("%s: the name is not the only one, or there is no summary or answer", r.Name)
		}
		names[r.Name] = true
		switch r.Access {
		case api.Token, api.Signed:
		case api.Public, api.Probe:
			if r.Method != http.MethodGet {
				t.Errorf("%s: everybody may %s", r.Name, r.Method)
			}
		default:
			t.Errorf("%s: access %q is not known", r.Name, r.Access)
		}
		var path, said []string
		for _, m := range inPath.FindAllStringSubmatch(r.URLPath(), -1) {
			path = append(path, m[1])
		}
		for _, p := range r.Params {
			if p.In == api.InPath {
				said = append(said, p.Name)
			}
		}
		if !slices.Equal(path, said) {
			t.Errorf("%s: the path has the parameters %v, described are %v", r.Name, path, said)
		}
	}
}
