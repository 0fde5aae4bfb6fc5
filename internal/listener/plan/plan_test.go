package plan_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/listener/plan"
)

const (
	commit = "2222222222222222222222222222222222222222"
	zero   = "0000000000000000000000000000000000000000"
)

// Every push has builds, or the reason why there are none; nothing is both or neither.
func TestPush(t *testing.T) {
	t.Parallel()
	project := rpmflow.Project{Name: "hello", URL: "https://host/hello.git", Branches: []string{"main"},
		Targets: []string{"fedora-43-x86_64", "fedora-43-aarch64"}, Layout: rpmflow.LayoutAuto}
	pl := plan.New(plan.Options{
		Projects: []rpmflow.Project{project}, Logger: slog.New(slog.DiscardHandler), Wait: time.Minute,
		Targets: []rpmflow.Target{{Name: "fedora-43-x86_64", Arch: "x86_64"},
			{Name: "fedora-43-aarch64", Arch: "aarch64"}},
	})
	t.Cleanup(pl.Close)
	for _, test := range []struct {
		name    string
		c       forge.Change
		targets []string
		reason  string // empty: builds
	}{
		{"a branch", forge.Change{Ref: "refs/heads/main", Commit: commit}, project.Targets, ""},
		{"another branch", forge.Change{Ref: "refs/heads/x", Commit: commit}, project.Targets, "x"},
		{"a deleted branch", forge.Change{Ref: "refs/heads/main", Commit: zero}, project.Targets, "was deleted"},
		{"no targets", forge.Change{Ref: "refs/heads/main", Commit: commit}, nil, "has no targets"},
	} {
		p := project
		p.Targets = test.targets
		received := plan.NewPush(p, "d1", test.c, "generic", time.Now())
		got := pl.Push(t.Context(), p, received, test.c)
		if (got.Reason == "") == (len(got.Builds) == 0) || !strings.Contains(got.Reason, test.reason) {
			t.Errorf("%s: %d builds, reason %q", test.name, len(got.Builds), got.Reason)
		}
		if test.reason == "" {
			again := pl.Push(t.Context(), p, received, test.c)
			if len(got.Builds) != len(test.targets) || got.Builds[0].ID != again.Builds[0].ID ||
				got.Builds[0].ID == got.Builds[1].ID {
				t.Errorf("%s: the ids of builds are not derived from push and target", test.name)
			}
		}
	}
	if _, refusal := pl.Project("nosuch"); refusal == nil || refusal.Kind != plan.NotFound || refusal.Hint == "" {
		t.Errorf("a project that is not configured: %+v", refusal)
	}
}
