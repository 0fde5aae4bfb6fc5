package publisher_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// status waits until the status is as wanted.
func status(t *testing.T, p *publisher.Publisher, want func(publisher.Status) bool) (s publisher.Status) {
	t.Helper()
	testkit.Until(t, func() error {
		var err error
		s, err = p.Status(t.Context(), "", "", time.Now().Add(-time.Hour))
		if err == nil && !want(s) {
			err = fmt.Errorf("the status is %+v", s)
		}
		return err
	})
	return s
}

func nothing(s publisher.Status) bool { return len(s.Waiting)+len(s.Refused) == 0 }

func waits(builds ...rpmflow.Build) func(publisher.Status) bool {
	return func(s publisher.Status) bool {
		same := func(w publisher.Waiting, b rpmflow.Build) bool { return w.Build == b.ID }
		return slices.EqualFunc(s.Waiting, builds, same)
	}
}

// TestStatus follows builds before a publisher runs, while it fails, and when all is published.
func TestStatus(t *testing.T) {
	t.Parallel()
	s := start(t)
	files := many(t, 4)
	asking := testkit.Value(publisher.New(s.options(t)))(t) // as a command does: it does not run
	status(t, asking, nothing)
	first := s.finish(t, "first", files[0])
	s.finishAs(t, "failed", func(b *rpmflow.Build) { b.Outcome.Result = rpmflow.Failed })
	got := status(t, asking, waits(first))
	if w := got.Waiting[0]; w.Stuck || w.Error != "" || w.Do == "" || w.Package != "demo" || w.Failed != nil {
		t.Errorf("without a publisher: %+v", w)
	}
	o := s.options(t)
	o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	later := testkit.Value(publisher.New(o))(t)
	if w := status(t, later, waits(first)).Waiting[0]; !w.Stuck || !strings.Contains(w.Do, "start a publisher") {
		t.Errorf("after an hour: %+v", w)
	}

	// Nothing can be signed for one target, while another one is published.
	o = s.options(t)
	o.Jobs = 1
	full := make(chan struct{})
	o.Step = func(what string) error {
		select {
		case <-full:
			return nil
		default:
		}
		if what == "state" {
			return errors.New("the disk is full")
		}
		return nil
	}
	p, stop := run(t, o)
	got = status(t, asking, func(s publisher.Status) bool { return len(s.Waiting) == 1 && s.Waiting[0].Error != "" })
	if w := got.Waiting[0]; !w.Stuck || !strings.Contains(w.Error, "the disk is full") || w.Do == "" ||
		w.Failed == nil || w.Failed.Before(w.Finished) {
		t.Errorf("the failed one: %+v", w)
	}
	if err := p.Ready(); err != nil {
		t.Errorf("not ready after a moment: %v", err)
	}
	var metrics strings.Builder
	p.WriteMetrics(&metrics)
	for _, want := range []string{"rpmflow_publisher_failing_targets 1", "rpmflow_publisher_waiting_builds 1",
		"rpmflow_publisher_oldest_waiting_seconds "} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("metrics without %s: %s", want, metrics.String())
		}
	}
	close(full)
	s.published(t, 1)
	status(t, asking, nothing)
	testkit.Until(t, func() error { metrics.Reset(); p.WriteMetrics(&metrics); return wanted(metrics.String()) })
	stop()

	// A build behind one that waits is not shown if it is published.
	o = s.options(t)
	o.Step = func(what string) error {
		if what == "package" {
			return errors.New("no")
		}
		return nil
	}
	_, stop = run(t, o)
	stuck := s.finish(t, "stuck", files[1])
	elsewhere := s.finishAs(t, "elsewhere", func(b *rpmflow.Build) {
		b.Target, b.Artifacts = "fedora-44-x86_64", nil
	}, files[2])
	status(t, asking, func(s publisher.Status) bool { return len(s.Waiting) == 1 && s.Waiting[0].Error != "" })
	if got := status(t, asking, waits(stuck)); got.Waiting[0].Build == elsewhere.ID {
		t.Errorf("%+v", got)
	}
	stop()
	_, stop = run(t, s.options(t))
	s.published(t, 2)
	refused := s.finish(t, "refused", testkit.Write(t, t.TempDir()+"/bad-1.noarch.rpm", "not an RPM"))
	got = status(t, asking, func(s publisher.Status) bool { return len(s.Waiting) == 0 && len(s.Refused) == 1 })
	if r := got.Refused[0]; r.Build != refused.ID || r.Reason == "" || r.Hint == "" || r.Target != binary.Target {
		t.Errorf("refused: %+v", r)
	}
	if none := testkit.Value(asking.Status(t.Context(), "other", "", time.Time{}))(t); !nothing(none) {
		t.Errorf("of another project: %+v", none)
	}
	stop()
}

func wanted(metrics string) error {
	if !strings.Contains(metrics, "rpmflow_publisher_failing_targets 0") {
		return fmt.Errorf("metrics: %s", metrics)
	}
	return nil
}

// TestReady has a publication that fails for longer than a moment.
func TestReady(t *testing.T) {
	t.Parallel()
	s := start(t)
	o := s.options(t)
	begin := time.Now()
	var log testkit.Log
	o.Log = log.Logger()
	o.Step = func(string) error { return errors.New("the disk is full") }
	o.Now = func() time.Time { return begin }
	p, stop := run(t, o)
	s.finish(t, "build", many(t, 1)...)
	log.Until(t, "trying again")
	stop()
	if err := p.Ready(); err != nil {
		t.Errorf("after a moment: %v", err)
	}
	begin = begin.Add(time.Hour)
	if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "demo") ||
		!strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("after an hour: %v", err)
	}
}

// TestChangesAreAnnounced has one event for each change by a command, and none for one that changes nothing.
func TestChangesAreAnnounced(t *testing.T) {
	t.Parallel()
	s := start(t)
	p, stop := run(t, s.options(t))
	files := many(t, 3)
	for n, file := range files {
		s.finish(t, file, file)
		s.published(t, int64(n)+1)
	}
	stop()
	pubs := events.NewPublications(s.js)
	_, seq, err := pubs.Last(t.Context(), "demo", binary.Target)
	testkit.Must(t, err)
	announced := func(what string, place publisher.Place, err error) (r events.PublishedRepository) {
		t.Helper()
		testkit.Must(t, err)
		before := seq
		for range 2 { // the second one has nothing to say
			testkit.Must(t, p.Announce(t.Context(), place))
		}
		pub, now, err := pubs.Last(t.Context(), "demo", binary.Target)
		testkit.Must(t, err)
		if seq = now; now != before+1 {
			t.Errorf("%s: %d events", what, now-before)
		}
		s.published(t, 1) // it is valid
		return pub.Repositories[0]
	}
	_, err = p.Rollback(t.Context(), binary, 1)
	r := announced("rollback", binary, err)
	if r.Revision != 3 || r.Shown != 1 || !strings.Contains(r.ShownURL, "/r/1-") || !strings.Contains(r.URL, "/r/3-") ||
		len(r.Added)+len(r.Removed) > 0 {
		t.Errorf("rollback: %+v", r)
	}
	_, err = p.Pin(t.Context(), binary, 2, true)
	if r = announced("pin", binary, err); !slices.Equal(r.Pinned, []int64{2}) || r.Shown != 1 {
		t.Errorf("pin: %+v", r)
	}
	_, err = p.Rollback(t.Context(), binary, 0)
	if r = announced("the newest again", binary, err); r.Shown != 0 || r.ShownURL != "" {
		t.Errorf("the newest again: %+v", r)
	}
	_, err = p.Remove(t.Context(), binary, "p00")
	if r = announced("removal", binary, err); r.Revision != 4 || len(r.Removed) != 1 || len(r.Added) > 0 {
		t.Errorf("removal: %+v", r)
	}
	_, err = p.Rebuild(t.Context(), binary, false)
	if r = announced("rebuild", binary, err); r.Revision != 5 || len(r.Added) != 2 {
		t.Errorf("rebuild: %+v", r)
	}
	stable := publisher.Place{Project: "stable", Target: binary.Target}
	_, err = p.Promote(t.Context(), binary, stable, nil)
	testkit.Must(t, err)
	testkit.Must(t, p.Announce(t.Context(), stable))
	pub, _, err := pubs.Last(t.Context(), "stable", binary.Target)
	testkit.Must(t, err)
	if len(pub.Repositories) != 1 || len(pub.Repositories[0].Added) != 2 {
		t.Errorf("promoted: %+v", pub)
	}
}
