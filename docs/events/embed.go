// Package eventschema holds the JSON Schemas of every event that rpmflow publishes, and checks events against them.
//
// A CloudEvent as it was published comes in; nil or an error that names what is wrong with it goes out. Only tests
// import it: programs publish what the domain's types say, and the tests here hold types and schemas together.
package eventschema

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Files are the schemas, by their file names.
//
//go:embed *.json
var Files embed.FS

// The file names of the schemas.
const (
	Build     = "build.v1.schema.json"
	Push      = "push.received.v1.schema.json"
	Published = "repository.published.v1.schema.json"
)

// base is what the schemas' $id begins with. Nothing is fetched from there: the schemas name each other by it.
const base = "https://rpmflow.dev/events/"

// compile compiles the embedded schema of that name. It takes some milliseconds: too little to keep the result in a
// variable.
func compile(name string) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat() // in draft 2020-12 a format is a remark unless one asks for more
	for _, one := range []string{Build, Push, Published} {
		raw, err := Files.ReadFile(one)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", one, err)
		}
		if err := c.AddResource(base+one, doc); err != nil {
			return nil, fmt.Errorf("schema %s: %w", one, err)
		}
	}
	schema, err := c.Compile(base + name)
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", name, err)
	}
	return schema, nil
}

// Validate checks a published event, in JSON structured mode, against the schema of its type.
func Validate(raw []byte) error {
	var envelope struct{ Type string }
	if err := json.Unmarshal(raw, &envelope); err != nil {
		return fmt.Errorf("event: not a CloudEvent in structured mode: %w", err)
	}
	var name string
	switch {
	case strings.HasPrefix(envelope.Type, "dev.rpmflow.build."):
		name = Build
	case strings.HasPrefix(envelope.Type, "dev.rpmflow.push."):
		name = Push
	case strings.HasPrefix(envelope.Type, "dev.rpmflow.repository."):
		name = Published
	default:
		return fmt.Errorf("event: there is no schema for type %q", envelope.Type)
	}
	schema, err := compile(name)
	if err != nil {
		return err
	}
	event, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("event of type %s: %w", envelope.Type, err)
	}
	if err := schema.Validate(event); err != nil {
		return fmt.Errorf("event of type %s: %w", envelope.Type, err)
	}
	return nil
}
