package listener_test

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// contract is the table of routes with the schemas of its OpenAPI document, which every answer in these tests must
// keep.
type contract struct {
	mu       sync.Mutex
	mux      *http.ServeMux
	routes   map[string]api.Route // by pattern
	compiler *jsonschema.Compiler
}

const openAPI = "https://rpmflow.dev/openapi.json"

func newContract(t *testing.T) *contract {
	t.Helper()
	c := &contract{mux: http.NewServeMux(), routes: map[string]api.Route{}, compiler: jsonschema.NewCompiler()}
	for _, r := range api.Routes() {
		c.mux.Handle(r.Pattern(), http.NotFoundHandler())
		c.routes[r.Pattern()] = r
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(api.OpenAPI))
	testkit.Must(t, err)
	testkit.Must(t, c.compiler.AddResource(openAPI, doc))
	return c
}

// check returns what is wrong with an answer; nothing if the request has no route.
func (c *contract) check(method, path string, status int, contentType, text string) error {
	req, err := http.NewRequest(method, path, nil)
	if err != nil {
		return nil
	}
	_, pattern := c.mux.Handler(req)
	r, ok := c.routes[pattern]
	if !ok || method == http.MethodHead || status == http.StatusMethodNotAllowed {
		return nil
	}
	if !slices.ContainsFunc(slices.Concat(r.Answers, r.Problems),
		func(a api.Answer) bool { return a.Status == status }) {
		return fmt.Errorf("%s answers %d, which the table of routes does not have", r.Name, status)
	}
	if media, _, _ := mime.ParseMediaType(contentType); media != "application/json" || r.Name == api.GetArtifact {
		return nil
	}
	pointer := strings.NewReplacer("~", "~0", "/", "~1").Replace
	c.mu.Lock() // a compiler is not for several goroutines
	schema, err := c.compiler.Compile(fmt.Sprintf("%s#/paths/%s/%s/responses/%d/content/application~1json/schema",
		openAPI, pointer(r.URLPath()), strings.ToLower(method), status))
	c.mu.Unlock()
	if err != nil {
		if r.Name == api.GetOpenAPI {
			return nil
		}
		return err
	}
	body, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	if err := schema.Validate(body); err != nil {
		return fmt.Errorf("%s: %d: %w", r.Name, status, err)
	}
	return nil
}

func newListener(t *testing.T) *testListener {
	w := newFixture(t, events.StreamSettings{})
	return w.listen(w.options())
}

func TestOpenAPIIsServed(t *testing.T) {
	t.Parallel()
	d := newListener(t)
	a := d.get("/api/v1/openapi.json")
	var doc struct{ OpenAPI string }
	if err := json.Unmarshal([]byte(a.text), &doc); err != nil || a.status != http.StatusOK ||
		!strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("%d, %v: %.100s", a.status, err, a.text)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := newListener(t)
	d.get("/api/v1/builds?limit=0")
	if a := d.get("/metrics"); a.status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", a.status)
	}
	a := d.get("/metrics", "Authorization", "Bearer "+token)
	for _, want := range []string{"rpmflow_listener_caught_up 1\n",
		`rpmflow_http_requests_total{route="GET /api/v1/builds",code="400"} 1`, "process_start_time_seconds"} {
		if a.status != http.StatusOK || !strings.Contains(a.text, want) {
			t.Errorf("%d without %s: %s", a.status, want, a.text)
		}
	}
}
