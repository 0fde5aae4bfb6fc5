package api

import (
	_ "embed"
	"strings"
)

// Access says who may use a route.
type Access string

// The groups of routes.
const (
	Public Access = "public" // everybody
	Signed Access = "signed" // who signs the body with the project's secret
	Token  Access = "token"  // who sends listener.token
	Probe  Access = "probe"  // everybody; health checks, whose refusals are expected
)

// Route describes one method and path.
type Route struct {
	Name     string // of the operation; the listener has a handler of this name
	Method   string
	Path     string // as in http.ServeMux
	Access   Access
	Transfer bool // takes as long as its transfer: no time limit for the whole request
	Summary  string
	Text     string // more than the summary, in Markdown
	Params   []Param
	Body     *Body
	Answers  []Answer
	Problems []Answer // without media type and type: all have the form of httpd.Problem
}

// Place is the part of a request that has a parameter.
type Place string

// The places.
const (
	InPath   Place = "path"
	InQuery  Place = "query"
	InHeader Place = "header"
)

// Param is a parameter; those of the path are required.
type Param struct {
	Name    string
	In      Place
	Text    string
	Values  []string // that it can have; nil: any text
	Integer bool
	// Required means that a parameter outside of the path must be there.
	Required bool
	Repeats  bool // it may be given several times
}

// Body is the body of a request.
type Body struct {
	Media    string
	Form     bool // it may also be a form whose field payload has the text
	Checked  bool // another declared media type is refused
	Type     any  // a value of the wire type; nil: bytes
	Text     string
	Optional bool
}

// Answer is one status with which a route answers.
type Answer struct {
	Status int
	When   string
	Media  string // empty: JSON
	Type   any    // a value of the wire type; nil: bytes
}

// Pattern is the route as http.ServeMux expects it.
func (r Route) Pattern() string { return r.Method + " " + r.Path }

// URLPath is the path as documents write it.
func (r Route) URLPath() string { return strings.NewReplacer("{$}", "", "...}", "}").Replace(r.Path) }

// Query names the query parameters; nil if the route has none.
func (r Route) Query() (names []string) {
	for _, p := range r.Params {
		if p.In == InQuery {
			names = append(names, p.Name)
		}
	}
	return names
}

// OpenAPI is the OpenAPI 3.1 document of the routes, generated from them: go test ./internal/api -update
//
//go:embed openapi.json
var OpenAPI string
