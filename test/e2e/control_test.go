package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// ask sends a request about a build.
func ask(t *testing.T, s *system.System, id, what string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL("/api/v1/builds/"+id+"/"+what),
		strings.NewReader("{}"))
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

// TestCancelAndRetry stops a build in the middle of the package's own code while another one is built at the same time,
// and repeats that one.
func TestCancelAndRetry(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"mock", "rpmbuild"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			hanging, other := system.NewRepository(t), system.NewRepository(t)
			s := system.Start(t, engine, hanging.Project("hanging", ""), other.Project("other", ""))
			hanging.Announce(t, s, "hanging")
			other.Announce(t, s, "other")
			files := inTree()
			files["rpm/greet.spec"] = strings.Replace(greetSpec, "%build\n",
				"%build\necho begun; trap '' TERM; sleep 600\n", 1)
			hanging.Push(t, files)
			var id string
			testkit.EventuallyWithin(t, system.Patience, "build that hangs", func() bool {
				builds := system.List(t, s, "?project=hanging&state=running")
				if len(builds) == 0 {
					return false
				}
				id = builds[0].ID
				return builds[0].Phase == rpmflow.PhaseRPMs
			})
			log := func() string {
				raw, err := io.ReadAll(system.Get(t, s.URL("/api/v1/builds/"+id+"/log")).Body)
				if err != nil {
					t.Fatal(err)
				}
				return string(raw)
			}
			testkit.EventuallyWithin(t, system.Patience, "begin of the package's own code",
				func() bool { return strings.Contains(log(), "begun\n") })

			other.Push(t, inTree()) // in the second slot
			parallel := s.Finished(t).Build
			if parallel.Project != "other" || parallel.Outcome.Result != rpmflow.Succeeded {
				t.Fatalf("%s: %+v\n%s", parallel.Project, parallel.Outcome, system.FetchLog(t, s, parallel))
			}

			asked := time.Now()
			if status, body := ask(t, s, id, "cancel"); status != http.StatusAccepted {
				t.Fatalf("%d %s", status, body)
			}
			// Long before the heartbeat that would see the request as well, or the end of what the package runs.
			b := s.FinishedWithin(t, 15*time.Second).Build
			if o := b.Outcome; b.ID != id || o.Kind != rpmflow.FailureCanceled || o.Phase != rpmflow.PhaseRPMs ||
				b.Cancel == nil || b.Attempt != 1 {
				t.Errorf("%s: %+v", b.ID, b.Outcome)
			}
			if log := system.FetchLog(t, s, b); !strings.Contains(log, "begun\n") ||
				!strings.Contains(log, "canceled by") {
				t.Errorf("log: %s", log)
			}
			t.Logf("stopped %s after the request", time.Since(asked).Round(time.Millisecond))
			if engine == "mock" {
				system.NothingLeft(t, s)
			}

			if status, body := ask(t, s, parallel.ID, "cancel"); status != http.StatusConflict ||
				!strings.Contains(body, "has succeeded already") {
				t.Errorf("a finished build: %d %s", status, body)
			}
			if status, body := ask(t, s, parallel.ID, "retry"); status != http.StatusAccepted {
				t.Fatalf("%d %s", status, body)
			}
			again := s.Finished(t).Build
			if again.RetryOf != parallel.ID || again.Commit != parallel.Commit || again.ID == parallel.ID ||
				again.Outcome.Result != rpmflow.Succeeded {
				t.Errorf("%+v", again)
			}
		})
	}
}
