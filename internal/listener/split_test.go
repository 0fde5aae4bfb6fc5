package listener_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const other = "3333333333333333333333333333333333333333"

// A push to either repository of layout split builds, and the record says which of them it was.
func TestPushToEitherRepository(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	o.Projects = append(o.Projects, rpmflow.Project{
		Name: "nova", URL: "https://github.com/openstack/nova.git", User: url.User("token"),
		Branches: []string{"master", "stable/*"},
		Layout:   rpmflow.LayoutSplit,
		Packaging: rpmflow.Packaging{URL: "git@github.com:openstack/nova-rpm.git",
			Directories: []rpmflow.TargetDirectory{{Target: "fedora-*", Directory: "fedora"}}},
		Sources: rpmflow.Sources{Fallback: "rpm-master"}, Targets: []string{"fedora-42-x86_64",
			"opensuse-leap-15.6-x86_64"}, Secret: secret, Timeout: time.Hour, Concurrency: 1,
	})
	d := w.listen(o)
	github := func(ref, after, fullName string) string {
		return fmt.Sprintf(`{"ref":%q,"before":%q,"after":%q,`+
			`"repository":{"full_name":%q,"clone_url":"https://github.com/%s.git"}}`, ref, zero, after, fullName,
			fullName)
	}
	generic := func(ref, delivery, repository string) string {
		return fmt.Sprintf(`{"ref":%q,"after":%q,"delivery":%q,"repository":%q}`, ref, commit, delivery, repository)
	}
	var ids []string
	deliver := func(path, body string, header ...string) (answer, pushed) {
		t.Helper()
		signature := forge.Sign(secret, []byte(body))
		a := d.do(http.MethodPost, "/hooks/"+path, bytes.NewReader([]byte(body)),
			append(header, "Content-Type", "application/json", "X-Hub-Signature-256", signature,
				"X-Rpmflow-Signature-256",
				signature)...)
		var p pushed
		if a.status < 400 {
			a.into(&p)
			if !p.Duplicate {
				ids = append(ids, p.ids()...)
			}
		}
		return a, p
	}
	build := func(id string) (b rpmflow.Build) {
		t.Helper()
		d.get("/api/v1/builds/" + id).into(&b)
		return b
	}
	for _, tt := range []struct {
		name, path, body string
		header           []string
		half             rpmflow.Half // "": refused
		says             string
	}{
		{"GitHub, source", "github/nova", github("refs/heads/stable/x", commit, "openstack/nova"),
			[]string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "1"}, rpmflow.HalfSource, ""},
		{"GitHub, packaging", "github/nova", github("refs/heads/stable/x", other, "openstack/nova-rpm"),
			[]string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "2"}, rpmflow.HalfPackaging, ""},
		{"GitHub, the fallback of packaging", "github/nova", github("refs/heads/rpm-master", other,
			"openstack/nova-rpm"),
			[]string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "3"}, rpmflow.HalfPackaging, ""},
		{"generic, by its field", "generic/nova",
			generic("refs/heads/master", "4", "git@github.com:openstack/nova-rpm.git"),
			nil, rpmflow.HalfPackaging, ""},
		{"generic, by the address", "generic/nova?repository=source", generic("refs/heads/master", "4", ""), nil,
			rpmflow.HalfSource, ""},
		{"the address says otherwise than the delivery", "generic/nova?repository=packaging",
			generic("refs/heads/master", "5", "https://github.com/openstack/nova"), nil, rpmflow.HalfPackaging, ""},
		{"nothing says it", "generic/nova", generic("refs/heads/master", "6", ""), nil, "",
			"does not say which of them"},
		{"another repository", "github/nova", github("refs/heads/master", commit, "openstack/glance"),
			[]string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "7"}, "", "?repository=packaging"},
		{"a word of its own", "generic/nova?repository=rpm", generic("refs/heads/master", "8", ""), nil, "",
			`repository "rpm" is not one of its two`},
		{"a project with one repository", "generic/hello?repository=packaging", generic("refs/heads/main", "9", ""),
			nil, "",
			"has one repository"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, p := deliver(tt.path, tt.body, tt.header...)
			if tt.half == "" {
				if a.status != http.StatusBadRequest || !strings.Contains(strings.ReplaceAll(a.text, `\"`, `"`),
					tt.says) {
					t.Errorf("%d %s", a.status, a.text)
				}
				return
			}
			if a.status != http.StatusAccepted || len(p.Builds) != 2 {
				t.Fatalf("%d %s", a.status, a.text)
			}
			_, again := deliver(tt.path, tt.body, tt.header...)
			if !again.Duplicate || again.Push != p.Push {
				t.Errorf("sent twice: %+v", again)
			}
			testkit.Eventually(w.t, "the record",
				func() bool { return d.get("/api/v1/builds/"+p.Builds[0].ID).status == http.StatusOK })
			b := build(p.Builds[0].ID)
			if b.Split == nil || b.Split.Pushed != tt.half || b.Sources.Directory != "fedora" ||
				b.Sources.Fallback != "rpm-master" {
				t.Fatalf("record %+v", b)
			}
			mine, others := b.Split.Halves()
			if *mine != (rpmflow.Revision{Repository: b.Repository, Ref: b.Ref, Commit: b.Commit}) ||
				others.Commit != "" ||
				others.Repository == b.Repository || strings.Contains(b.Repository+others.Repository, "token") {
				t.Errorf("split %+v", *b.Split)
			}
			if dir := build(p.Builds[1].ID).Sources.Directory; dir != "" {
				t.Errorf("the other target has directory %q", dir)
			}
		})
	}
	if _, p := deliver("generic/nova?repository=packaging",
		generic("refs/heads/other", "10", "")); len(p.Builds) != 0 ||
		!strings.Contains(p.Reason, "is not built") {
		t.Errorf("another branch: %+v", p)
	}
	if _, p := deliver("generic/nova?repository=source", generic("refs/heads/rpm-master", "11",
		"")); len(p.Builds) != 0 {
		t.Errorf("the fallback's name in the source repository: %+v", p)
	}
	w.queued(ids...)
}

// A repeated build has both of its commits, also after other pushes.
func TestRetryKeepsBothCommits(t *testing.T) {
	t.Parallel()
	w := newFixture(t, events.StreamSettings{})
	o := w.options()
	hello := &o.Projects[0]
	hello.Layout, hello.Packaging.URL = rpmflow.LayoutSplit, filepath.Join(t.TempDir(), "hello-rpm.git")
	d := w.listen(o)
	body := payload("refs/heads/main", "", commit, "1")
	a := d.do(http.MethodPost, "/hooks/generic/hello?repository=packaging", bytes.NewReader(body),
		"X-Rpmflow-Signature-256", forge.Sign(secret, body))
	var p pushed
	a.into(&p)
	w.queued(p.ids()...)
	last, err := w.ledger.LastOf(t.Context(), p.Builds[0].ID)
	testkit.Must(w.t, err)
	running := d.claim(last)
	running.Build.Split.Source.Ref, running.Build.Split.Source.Commit = "refs/heads/main", other
	b := d.end(running, rpmflow.FailureBuild)
	retried, _ := d.ask(b.ID, "retry", "{}")
	var again pushed
	retried.into(&again)
	var msg rpmflow.Build
	testkit.Eventually(w.t, "the new build", func() bool { return len(w.messages(events.StreamBuilds)) == 2 })
	testkit.Must(w.t, json.Unmarshal(w.messages(events.StreamBuilds)[1].Data, &msg))
	if msg.ID != again.Builds[0].ID || msg.RetryOf != b.ID || msg.Split == nil || *msg.Split != *b.Split ||
		msg.Commit != commit || msg.Repository != hello.Packaging.URL {
		t.Errorf("retry: %+v", msg)
	}

	d.stop()
	hello.Layout, hello.Packaging.URL = rpmflow.LayoutAuto, ""
	d = w.listen(o)
	if a, _ := d.ask(b.ID, "retry", "{}"); a.status != http.StatusConflict ||
		!strings.Contains(a.text, "not the project's repositories any more") {
		t.Errorf("%d %s", a.status, a.text)
	}
}
