package eventschema_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// object is what a schema says of one object.
type object struct {
	Required             []string
	Properties           map[string]json.RawMessage
	AdditionalProperties *bool
}

func definitions(t *testing.T, file string) map[string]object {
	t.Helper()
	raw, err := eventschema.Files.ReadFile(file)
	testkit.Must(t, err)
	var s struct {
		Defs map[string]object `json:"$defs"`
	}
	testkit.Must(t, json.Unmarshal(raw, &s))
	return s.Defs
}

// described are the types that travel, and where the schemas describe them.
var described = map[reflect.Type]struct{ file, def string }{
	reflect.TypeFor[rpmflow.Build]():              {eventschema.Build, "build"},
	reflect.TypeFor[rpmflow.Cancel]():             {eventschema.Build, "cancel"},
	reflect.TypeFor[rpmflow.BuildRoot]():          {eventschema.Build, "root"},
	reflect.TypeFor[rpmflow.Sources]():            {eventschema.Build, "sources"},
	reflect.TypeFor[rpmflow.Split]():              {eventschema.Build, "split"},
	reflect.TypeFor[rpmflow.Revision]():           {eventschema.Build, "revision"},
	reflect.TypeFor[rpmflow.Substitution]():       {eventschema.Build, "substitution"},
	reflect.TypeFor[rpmflow.Options]():            {eventschema.Build, "options"},
	reflect.TypeFor[rpmflow.Macro]():              {eventschema.Build, "macro"},
	reflect.TypeFor[rpmflow.Repo]():               {eventschema.Build, "repository"},
	reflect.TypeFor[rpmflow.MockOption]():         {eventschema.Build, "mock_option"},
	reflect.TypeFor[rpmflow.PhaseTime]():          {eventschema.Build, "phase"},
	reflect.TypeFor[rpmflow.Waiting]():            {eventschema.Build, "waiting"},
	reflect.TypeFor[rpmflow.Outcome]():            {eventschema.Build, "outcome"},
	reflect.TypeFor[rpmflow.Package]():            {eventschema.Build, "package"},
	reflect.TypeFor[rpmflow.SourceFile]():         {eventschema.Build, "source_file"},
	reflect.TypeFor[rpmflow.SourcePackage]():      {eventschema.Build, "source_package"},
	reflect.TypeFor[rpmflow.Artifact]():           {eventschema.Build, "artifact"},
	reflect.TypeFor[rpmflow.Push]():               {eventschema.Push, "push"},
	reflect.TypeFor[events.Publication]():         {eventschema.Published, "publication"},
	reflect.TypeFor[events.PublishedRepository](): {eventschema.Published, "published_repository"},
	reflect.TypeFor[events.PublishedPackage]():    {eventschema.Published, "published_package"},
	reflect.TypeFor[events.RefusedPackage]():      {eventschema.Published, "refused_package"},
	reflect.TypeFor[events.HeldBack]():            {eventschema.Published, "held_back"},
}

// TestSchemaAndCodeAgree encodes each type full and empty: what is in the full one is what the schema must know, and
// what is in the empty one too is always there and so required.
func TestSchemaAndCodeAgree(t *testing.T) {
	t.Parallel()
	for typ, where := range described {
		def, ok := definitions(t, where.file)[where.def]
		if !ok {
			t.Errorf("%s has no $defs/%s for %s", where.file, where.def, typ)
			continue
		}
		if def.AdditionalProperties == nil || *def.AdditionalProperties {
			t.Errorf("%s $defs/%s does not forbid other properties", where.file, where.def)
		}
		full := reflect.New(typ).Elem()
		fill(t, full)
		compare(t, where.def+": fields", keys(t, full), slices.Collect(maps.Keys(def.Properties)))
		compare(t, where.def+": fields that are always there", keys(t, reflect.New(typ).Elem()), def.Required)
	}
}

func keys(t *testing.T, v reflect.Value) []string {
	t.Helper()
	raw, err := json.Marshal(v.Interface())
	testkit.Must(t, err)
	var m map[string]json.RawMessage
	testkit.Must(t, json.Unmarshal(raw, &m))
	return slices.Collect(maps.Keys(m))
}

// fill makes every field non-empty, down to the structs in it, which must be described, too.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if _, ok := described[v.Type()]; !ok {
			t.Fatalf("%s travels and no schema describes it: add it to a schema and to this test", v.Type())
		}
		fillFields(t, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key)
		fill(t, value)
		v.SetMapIndex(key, value)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	default:
		t.Fatalf("a %s travels: teach this test to fill it", v.Type())
	}
}

// fillFields fills a struct. The fields of an embedded struct are described with it.
func fillFields(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		if v.Type().Field(i).Anonymous {
			fillFields(t, v.Field(i))
			continue
		}
		fill(t, v.Field(i))
	}
}

func compare(t *testing.T, what string, code, schema []string) {
	t.Helper()
	slices.Sort(code)
	schema = slices.Sorted(slices.Values(schema))
	if !slices.Equal(code, schema) {
		t.Errorf("%s:\n  the code has   %s\n  the schema has %s", what, strings.Join(code, " "),
			strings.Join(schema, " "))
	}
}

// TestWordsAgree compares each enum with the constants of its type.
func TestWordsAgree(t *testing.T) {
	t.Parallel()
	domain, eventTypes := constants(t, "../.."), constants(t, "../../internal/events")
	var types []string
	for _, kind := range eventTypes["Type"] {
		if kind != "received" { // of a push
			types = append(types, "dev.rpmflow.build."+kind+".v1")
		}
	}
	var build struct {
		Properties map[string]json.RawMessage
		Defs       map[string]json.RawMessage `json:"$defs"`
	}
	raw, err := eventschema.Files.ReadFile(eventschema.Build)
	testkit.Must(t, err)
	testkit.Must(t, json.Unmarshal(raw, &build))
	defs := definitions(t, eventschema.Build)
	senders := []string{forge.API}
	for _, f := range forge.Forges() {
		senders = append(senders, f.Name)
	}
	for _, c := range []struct {
		what   string
		schema json.RawMessage
		code   []string
	}{
		{"type", build.Properties["type"], types},
		{"state", defs["build"].Properties["state"], domain["State"]},
		{"layout", defs["build"].Properties["layout"], domain["Layout"]},
		{"half", build.Defs["half"], domain["Half"]},
		{"phase", build.Defs["phaseName"], domain["Phase"]},
		{"result", defs["outcome"].Properties["result"], domain["Result"]},
		{"kind of failure", defs["outcome"].Properties["kind"], domain["FailureKind"]},
		{"origin of a source", defs["source_file"].Properties["origin"], domain["Origin"]},
		{"kind of artifact", defs["artifact"].Properties["kind"], domain["ArtifactKind"]},
		{"forge", definitions(t, eventschema.Push)["push"].Properties["forge"], senders},
	} {
		var s struct{ Enum []string }
		if err := json.Unmarshal(c.schema, &s); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		compare(t, c.what, slices.Clone(c.code), s.Enum)
	}
}

// constants lists the string constants of a package by their type, as the source has them: no test can miss a
// new one here.
func constants(t *testing.T, dir string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	testkit.Must(t, err)
	found := map[string][]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		testkit.Must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			typ, ok := spec.Type.(*ast.Ident)
			if !ok {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				value, err := strconv.Unquote(lit.Value)
				testkit.Must(t, err)
				found[typ.Name] = append(found[typ.Name], value)
			}
			return true
		})
	}
	return found
}
