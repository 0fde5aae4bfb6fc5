package readmodel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestListPagesAndFilters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, after, err := Open(dir, "EVENTS 1")
	if err != nil || after != 0 {
		t.Fatal(after, err)
	}
	if _, _, err := Open(dir, "EVENTS 1"); err == nil {
		t.Fatal("two listeners in one directory")
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range 25 {
		b := rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: fmt.Sprintf("b%02d", i),
			Project:  fmt.Sprint("p", i%2),
			QueuedAt: start.Add(time.Duration(i/2) * time.Second)}, State: rpmflow.Queued}
		testkit.Must(t, m.Apply(t.Context(), uint64(i+1), b))
	}
	done := rpmflow.Build{BuildRequest: rpmflow.BuildRequest{ID: "b03", Project: "p1",
		QueuedAt: start.Add(time.Second)},
		State: rpmflow.Finished, BuildResult: rpmflow.BuildResult{Outcome: &rpmflow.Outcome{Result: rpmflow.Failed,
			Kind: rpmflow.FailureBuild}}}
	testkit.Must(t, m.Apply(t.Context(), 26, done))

	var all []string
	q := Query{Limit: 10}
	for pages := 0; ; pages++ {
		page, next, err := m.List(t.Context(), q)
		if err != nil || pages > 3 {
			t.Fatal(pages, err)
		}
		for _, b := range page {
			all = append(all, b.ID)
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	if len(all) != 25 || all[0] != "b24" || all[24] != "b00" {
		t.Fatalf("%v", all)
	}
	failed, next, err := m.List(t.Context(), Query{Limit: 10, Project: "p1", Result: rpmflow.Failed,
		Kind: rpmflow.FailureBuild})
	if err != nil || next != "" || len(failed) != 1 || failed[0].ID != "b03" {
		t.Fatal(failed, next, err)
	}
	if _, _, err := m.List(t.Context(), Query{Limit: 1, Cursor: "b%"}); !errors.Is(err, ErrCursor) {
		t.Fatal(err)
	}
	testkit.Must(t, m.Close())

	m, after, err = Open(dir, "EVENTS 1")
	if err != nil || after != 26 {
		t.Fatal("reopened after", after, err)
	}
	_ = m.Close()
	m, after, err = Open(dir, "EVENTS 2")
	if err != nil || after != 0 {
		t.Fatal("another stream: after", after, err)
	}
	_ = m.Close()
	testkit.Must(t, os.WriteFile(filepath.Join(dir, "builds.db"),
		[]byte("not a database, but long enough to look at it twice"), 0o600))
	if m, after, err = Open(dir, "EVENTS 2"); err != nil || after != 0 {
		t.Fatal("damaged: after", after, err)
	}
	_ = m.Close()
}
