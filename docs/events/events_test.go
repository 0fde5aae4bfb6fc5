package eventschema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func example(t *testing.T, name string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("examples", name+".json"))
	testkit.Must(t, err)
	var e map[string]any
	testkit.Must(t, json.Unmarshal(raw, &e))
	return e
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	testkit.Must(t, err)
	return raw
}

// TestExamples holds the examples to the schema, to the domain's types, and to the way in which ids are derived.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("examples/*.json")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		testkit.Must(t, err)
		if err := eventschema.Validate(raw); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var e struct {
			Type, Subject string
			Data          json.RawMessage
		}
		testkit.Must(t, json.Unmarshal(raw, &e))
		var builds []rpmflow.Build
		var data any
		switch {
		case strings.HasPrefix(e.Type, "dev.rpmflow.repository."):
			var p events.Publication
			strict(t, file, e.Data, &p)
			if e.Subject != p.Target {
				t.Errorf("%s: subject %s", file, e.Subject)
			}
			data = p
		case strings.HasPrefix(e.Type, "dev.rpmflow.push."):
			var p rpmflow.Push
			strict(t, file, e.Data, &p)
			if p.ID != rpmflow.PushID(p.Project, p.Delivery) || e.Subject != p.ID {
				t.Errorf("%s: push id %s is not derived from its delivery", file, p.ID)
			}
			builds, data = p.Builds, p
		default:
			var b rpmflow.Build
			strict(t, file, e.Data, &b)
			if e.Subject != b.ID {
				t.Errorf("%s: subject %s", file, e.Subject)
			}
			builds, data = []rpmflow.Build{b}, b
		}
		for _, b := range builds {
			if b.ID != rpmflow.BuildID(b.Push, b.Package, b.Target) {
				t.Errorf("%s: build id %s is not derived from its push", file, b.ID)
			}
		}
		var compact bytes.Buffer
		testkit.Must(t, json.Compact(&compact, e.Data))
		if again := encode(t, data); !bytes.Equal(again, compact.Bytes()) {
			t.Errorf("%s is not what the code would write:\n%s", file, again)
		}
	}
}

// strict decodes data; Package writes its nevra and reads it not, which is the one field that may be unknown.
func strict(t *testing.T, file string, data []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !strings.Contains(err.Error(), `"nevra"`) {
		t.Fatalf("%s: %v", file, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// at returns the object that a path of keys and list indices leads to, all but the last element of it.
func at(t *testing.T, v any, path string) (parent map[string]any, key string) {
	t.Helper()
	parts := strings.Split(path, ".")
	for _, p := range parts[:len(parts)-1] {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			v = x[len(x)-1]
		}
	}
	parent, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("the example has nothing at %s", path)
	}
	return parent, parts[len(parts)-1]
}

// TestSpoiledEventsAreRefused spoils one thing of an example at a time. A list's element is its last, whatever the
// index.
func TestSpoiledEventsAreRefused(t *testing.T) {
	t.Parallel()
	const remove = "\x00remove"
	ok, failed, queued, push := "build.finished.succeeded", "build.finished.failed", "build.queued", "push.received"
	published := "repository.published"
	for _, c := range []struct {
		why, example, path string
		value              any
	}{
		{"other version of CloudEvents", ok, "specversion", "0.3"},
		{"id is not a UUID", ok, "id", "1"},
		{"id in capitals", ok, "id", "6EF8A939-211E-59D1-8035-2E14882D4BC8"},
		{"source of another system", ok, "source", "/other"},
		{"source not escaped", ok, "source", "/rpmflow/projects/a.b"},
		{"unknown type", ok, "type", "dev.rpmflow.build.exploded.v1"},
		{"type of another version", ok, "type", "dev.rpmflow.build.finished.v2"},
		{"foreign type", ok, "type", "com.example.x"},
		{"no subject", ok, "subject", remove},
		{"no time", ok, "time", remove},
		{"time that is none", ok, "time", "yesterday"},
		{"date that there is not", ok, "time", "2026-02-30T00:00:00Z"},
		{"time not in UTC", ok, "time", "2026-03-02T09:15:27+01:00"},
		{"other media type", ok, "datacontenttype", "text/xml"},
		{"unknown attribute", ok, "traceparent", "00-0-0-00"},
		{"no data", ok, "data", remove},

		{"publication of another kind", published, "data.repositories.0.kind", "docs"},
		{"revision without a URL", published, "data.repositories.0.url", remove},
		{"refused without a reason", published, "data.refused.0.reason", ""},

		{"unknown field", ok, "data.secret", "x"},
		{"no commit", ok, "data.commit", remove},
		{"short commit", ok, "data.commit", "4f2c1a9"},
		{"commit in capitals", ok, "data.commit", strings.Repeat("A", 40)},
		{"ref that is none", ok, "data.ref", "main"},
		{"project with a slash", ok, "data.project", "a/b"},
		{"target with a space", ok, "data.target", "a b"},
		{"credentials in the repository", ok, "data.repository", "https://user:word@git.example.com/hello.git"},
		{"token in the repository", ok, "data.repository", "https://token@git.example.com/hello.git"},
		{"password in an ssh URL", ok, "data.repository", "ssh://git:word@git.example.com/hello.git"},
		{"unknown layout", ok, "data.layout", "flat"},
		{"no timeout", ok, "data.timeout_seconds", 0},
		{"no concurrency", ok, "data.concurrency", 0},
		{"attempt is a text", ok, "data.attempt", "1"},
		{"attempt and a half", ok, "data.attempt", 1.5},
		{"unknown engine", ok, "data.engine", "podman"},
		{"container by name", ok, "data.containers", []any{"frosty_bose"}},
		{"own repository without a revision", ok, "data.own_repository", "https://example.com/repos/hello/t/"},
		{"own repository before the attempt", queued, "data.own_repository", "https://example.com/r/1-01234567/"},
		{"empty list", ok, "data.notes", []any{}},
		{"null", ok, "data.notes", nil},

		{"finished without an outcome", ok, "data.outcome", remove},
		{"finished without its time", ok, "data.finished_at", remove},
		{"finished and running", ok, "data.state", "running"},
		{"finished in attempt 0", ok, "data.attempt", 0},
		{"finished without a builder", ok, "data.builder", remove},
		{"finished with no engine", ok, "data.engine", remove},
		{"finished without phases", ok, "data.phases", remove},
		{"finished while a phase runs", ok, "data.phases.0.seconds", 0},
		{"unknown phase", ok, "data.phases.0.phase", "lunch"},
		{"negative duration", ok, "data.phases.0.seconds", -1},
		{"succeeded without packages", ok, "data.packages", remove},
		{"succeeded with no packages", ok, "data.packages", []any{}},
		{"succeeded without artifacts", ok, "data.artifacts", remove},
		{"succeeded with no artifacts", ok, "data.artifacts", []any{}},
		{"succeeded with a kind of failure", ok, "data.outcome.kind", "build"},
		{"succeeded with a message", ok, "data.outcome.message", "well done"},
		{"succeeded in another phase", ok, "data.phase", "rpms"},
		{"succeeded, layout not known", ok, "data.layout", "auto"},
		{"unknown result", ok, "data.outcome.result", "maybe"},
		{"package without NEVRA", ok, "data.packages.0.nevra", remove},
		{"NEVRA that is none", ok, "data.packages.0.nevra", "hello"},
		{"negative epoch", ok, "data.packages.0.epoch", -1},
		{"two SRPMs", ok, "data.packages.0.arch", "src"},
		{"checksum that is none", ok, "data.artifacts.0.sha256", "abc"},
		{"empty artifact", ok, "data.artifacts.0.size", 0},
		{"key outside of builds", ok, "data.artifacts.0.key", "secrets/x"},
		{"URL that is none", ok, "data.artifacts.0.url", "s3://rpmflow/x"},
		{"log that is not compressed", ok, "data.artifacts.0.content_encoding", remove},
		{"log with a NEVRA", ok, "data.artifacts.0.nevra", "hello-1.0-1.noarch"},
		{"package without a NEVRA", ok, "data.artifacts.0.kind", "rpm"},

		{"failed without a kind", failed, "data.outcome.kind", remove},
		{"failed without a phase", failed, "data.outcome.phase", remove},
		{"failed without a message", failed, "data.outcome.message", remove},
		{"failed with an empty message", failed, "data.outcome.message", ""},
		{"unknown kind", failed, "data.outcome.kind", "cosmic rays"},
		{"failed with packages", failed, "data.packages",
			[]any{map[string]any{"nevra": "a-1-1.noarch", "name": "a", "epoch": 0, "version": "1", "release": "1",
				"arch": "noarch"}}},

		{"canceled without a request", failed, "data.outcome.kind", "canceled"},
		{"canceled, and failed for another reason", failed, "data.cancel", map[string]any{"by": "ann",
			"at": "2026-03-02T09:15:24Z"}},
		{"canceled, and succeeded", ok, "data.cancel", map[string]any{"by": "ann", "at": "2026-03-02T09:15:24Z"}},
		{"queued and canceled", queued, "data.cancel", map[string]any{"by": "ann", "at": "2026-03-02T09:15:24Z"}},
		{"cancel requested of a queued one", queued, "type", "dev.rpmflow.build.cancel-requested.v1"},
		{"repeats nothing", queued, "data.retry_of", "the one before"},
		{"queued and running", queued, "data.state", "running"},
		{"queued with a builder", queued, "data.builder", "b"},
		{"queued with an outcome", queued, "data.outcome", map[string]any{"result": "succeeded"}},
		{"queued again without a reason", queued, "data.attempt", 1},
		{"started without a builder", queued, "type", "dev.rpmflow.build.started.v1"},
		{"in a phase without a builder", queued, "type", "dev.rpmflow.build.phase.v1"},

		{"push with neither builds nor a reason", push, "data.builds", remove},
		{"push with both", push, "data.reason", "because"},
		{"push without builds", push, "data.builds", []any{}},
		{"push of an unknown forge", push, "data.forge", "sourceforge"},
		{"push without a delivery", push, "data.delivery", ""},
		{"push with an unknown field", push, "data.secret", "x"},
		{"push with a started build", push, "data.builds.0.attempt", 1},
		{"push with a spoiled build", push, "data.builds.0.commit", "main"},
	} {
		t.Run(c.why, func(t *testing.T) {
			e := example(t, c.example)
			parent, key := at(t, e, c.path)
			if c.value == remove {
				delete(parent, key)
			} else {
				parent[key] = c.value
			}
			if err := eventschema.Validate(encode(t, e)); err == nil {
				t.Errorf("%s: accepted", c.path)
			}
		})
	}
	for _, raw := range []string{"", "[]", "{}", `{"type":1}`, "not JSON"} {
		if err := eventschema.Validate([]byte(raw)); err == nil {
			t.Errorf("%q: accepted", raw)
		}
	}
}

// TestOtherEventsThatHappen makes of the examples those events that need no example of their own.
func TestOtherEventsThatHappen(t *testing.T) {
	t.Parallel()
	change := func(name string, changes map[string]any) []byte {
		e := example(t, name)
		for path, value := range changes {
			parent, key := at(t, e, path)
			if value == nil {
				delete(parent, key)
			} else {
				parent[key] = value
			}
		}
		return encode(t, e)
	}
	claim := map[string]any{"phase": "claim", "started": "2026-03-02T09:15:04Z", "seconds": 0}
	running := map[string]any{"data.state": "running", "data.attempt": 2, "data.builder": "b", "data.queue_sequence": 7,
		"data.engine": "mock", "data.started_at": "2026-03-02T09:15:04Z"}
	with := func(more map[string]any) map[string]any {
		all := map[string]any{}
		for _, m := range []map[string]any{running, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	cancel := map[string]any{"by": "ann", "at": "2026-03-02T09:15:24Z"}
	canceled := map[string]any{"result": "failed", "kind": "canceled", "phase": "claim", "message": "canceled by ann"}
	for why, raw := range map[string][]byte{
		"cancel requested": change("build.queued",
			with(map[string]any{"type": "dev.rpmflow.build.cancel-requested.v1", "data.phase": "claim",
				"data.phases": []any{claim}, "data.cancel": cancel})),
		"canceled": change("build.finished.failed", map[string]any{"data.cancel": cancel, "data.outcome": canceled}),
		"canceled while queued": change("build.queued", map[string]any{"type": "dev.rpmflow.build.finished.v1",
			"data.state": "finished", "data.cancel": cancel, "data.outcome": canceled,
			"data.finished_at": "2026-03-02T09:15:24Z"}),
		"canceled while queued again": change("build.queued", map[string]any{"type": "dev.rpmflow.build.finished.v1",
			"data.state": "finished", "data.cancel": cancel, "data.outcome": canceled,
			"data.finished_at": "2026-03-02T09:15:24Z", "data.attempt": 1, "data.queue_sequence": 7,
			"data.engine":                  "mock",
			"data.infrastructure_failures": 1, "data.notes": []any{"attempt 1 failed"}}),
		"retry": change("build.queued", map[string]any{"data.retry_of": "54004af1-55a5-508d-a6bc-9c411160dff5"}),
		"started": change("build.queued",
			with(map[string]any{"type": "dev.rpmflow.build.started.v1", "data.phase": "claim",
				"data.phases": []any{claim}})),
		"phase": change("build.queued",
			with(map[string]any{"type": "dev.rpmflow.build.phase.v1", "data.phase": "sources",
				"data.phases": []any{claim, map[string]any{"phase": "sources", "started": "2026-03-02T09:15:05Z",
					"seconds": 0}}})),
		"queued again": change("build.queued", map[string]any{"data.attempt": 1, "data.queue_sequence": 7,
			"data.engine": "mock", "data.infrastructure_failures": 1, "data.notes": []any{"attempt 1 failed"}}),
		"given up": change("build.finished.failed", map[string]any{"data.artifacts": nil, "data.containers": nil,
			"data.notes": nil, "data.lost_attempts": 6, "data.outcome.kind": "infrastructure",
			"data.outcome.phase": "claim"}),
		"SHA-256": change("build.finished.succeeded", map[string]any{"data.commit": strings.Repeat("0a", 32)}),
		"on disk": change("build.finished.succeeded", map[string]any{"data.repository": "/srv/git/hello.git"}),
		"by ssh": change("build.finished.succeeded",
			map[string]any{"data.repository": "git@git.example.com:hello.git"}),
		"by ssh URL": change("build.finished.succeeded",
			map[string]any{"data.repository": "ssh://git@git.example.com:22/hello.git"}),
		"no ref": change("build.queued", map[string]any{"data.ref": ""}),
		"with dots": change("build.queued", map[string]any{"source": "/rpmflow/projects/hello%2Eworld",
			"data.project": "hello.world"}),
		"nothing": change("push.received",
			map[string]any{"data.builds": nil, "data.reason": "branch \"x\" is not built"}),
	} {
		if err := eventschema.Validate(raw); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
}
