package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
)

// ask sends a request about a build.
func (s *system) ask(t *testing.T, id, what string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url("/api/v1/builds/"+id+"/"+what), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var raw json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// TestCancelAndRetry stops a build in the middle of the package's own code while another one is built beside it, and repeats that one.
func TestCancelAndRetry(t *testing.T) {
	for _, engine := range []string{"mock", "rpmbuild"} {
		t.Run(engine, func(t *testing.T) {
			hanging, other := newRepository(t), newRepository(t)
			s := start(t, engine, hanging.project("hanging", ""), other.project("other", ""))
			hanging.announce(t, s, "hanging")
			other.announce(t, s, "other")
			files := inTree()
			files["rpm/greet.spec"] = strings.Replace(greetSpec, "%build\n", "%build\necho begun; trap '' TERM; sleep 600\n", 1)
			hanging.push(t, files)
			var id string
			eventually(t, patience, "build that hangs", func() bool {
				builds := list(t, s, "?project=hanging&state=running")
				if len(builds) == 0 {
					return false
				}
				id = builds[0].ID
				return builds[0].Phase == rpmflow.PhaseRPMs
			})
			log := func() string {
				raw, err := io.ReadAll(get(t, s.url("/api/v1/builds/"+id+"/log")).Body)
				if err != nil {
					t.Fatal(err)
				}
				return string(raw)
			}
			eventually(t, patience, "begin of the package's own code", func() bool { return strings.Contains(log(), "begun\n") })

			other.push(t, inTree()) // in the second slot
			beside := s.finished(t).Build
			if beside.Project != "other" || beside.Outcome.Result != rpmflow.Succeeded {
				t.Fatalf("%s: %+v\n%s", beside.Project, beside.Outcome, fetchLog(t, s, beside))
			}

			asked := time.Now()
			if status, body := s.ask(t, id, "cancel"); status != http.StatusAccepted {
				t.Fatalf("%d %s", status, body)
			}
			// Long before the heartbeat that would see the request as well, or the end of what the package runs.
			const bound = 15 * time.Second
			select {
			case e := <-s.seen:
				b := e.Build
				if o := b.Outcome; b.ID != id || o.Kind != rpmflow.FailureCanceled || o.Phase != rpmflow.PhaseRPMs || b.Cancel == nil || b.Attempt != 1 {
					t.Errorf("%s: %+v", b.ID, b.Outcome)
				}
				if log := fetchLog(t, s, b); !strings.Contains(log, "begun\n") || !strings.Contains(log, "canceled by") {
					t.Errorf("log: %s", log)
				}
			case <-time.After(bound):
				t.Fatalf("not stopped within %s", bound)
			}
			t.Logf("stopped %s after the request", time.Since(asked).Round(time.Millisecond))
			if engine == "mock" {
				nothingLeft(t, s)
			}

			if status, body := s.ask(t, beside.ID, "cancel"); status != http.StatusConflict || !strings.Contains(body, "has succeeded already") {
				t.Errorf("a finished build: %d %s", status, body)
			}
			if status, body := s.ask(t, beside.ID, "retry"); status != http.StatusAccepted {
				t.Fatalf("%d %s", status, body)
			}
			again := s.finished(t).Build
			if again.RetryOf != beside.ID || again.Commit != beside.Commit || again.ID == beside.ID || again.Outcome.Result != rpmflow.Succeeded {
				t.Errorf("%+v", again)
			}
		})
	}
}
