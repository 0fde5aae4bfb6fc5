package publisher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// stuckAfter is how long a publication may fail, or a build wait for one, before somebody should look.
const stuckAfter = 5 * time.Minute

// trouble is that nothing can be published to the repositories of a project for a target.
type trouble struct {
	since time.Time
	err   error
}

// failed counts a failure, and leaves its reason for those who ask.
func (p *Publisher) failed(d desk, batch []events.Finish, err error) {
	p.metrics.failed.Inc()
	p.mu.Lock()
	t := trouble{p.o.now(), err}
	if before, ok := p.bad[d]; ok {
		t.since = before.since
	}
	p.bad[d] = t
	p.mu.Unlock()
	what, do := hint.Split(err)
	note := events.Failure{At: p.o.now().UTC(), Error: what, Hint: do}
	noted := map[string]bool{}
	for _, f := range batch {
		target := f.Build.Target
		if noted[target] {
			continue
		}
		noted[target] = true
		if err := p.events.NoteFailure(d.project, target, note); err != nil {
			p.o.Log.Warn("the failure cannot be noted for rpmflow repo status", "project", d.project,
				"target", target, "error", err)
		}
	}
}

func (p *Publisher) succeeded(d desk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.bad, d)
}

// Ready returns why a publication fails for so long that somebody should look; nil: none does.
func (p *Publisher) Ready() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d, t := range p.bad {
		if p.o.now().Sub(t.since) >= stuckAfter {
			return fmt.Errorf("builds of %s for %s cannot be published since %s: %w", d.project,
				cmp.Or(d.target, "all targets"), t.since.UTC().Format(time.RFC3339), t.err)
		}
	}
	return nil
}

// Waiting is a finished build whose packages are not published.
type Waiting struct {
	Build    string    `json:"build"`
	Project  string    `json:"project"`
	Package  string    `json:"package"`
	Target   string    `json:"target"`
	Finished time.Time `json:"finished"`
	Stuck    bool      `json:"stuck"` // it has failed, or waits for long
	// Error is why the last try has failed; empty: there was none since the build has finished.
	Error  string     `json:"error,omitempty"`
	Failed *time.Time `json:"failed,omitempty"`
	Do     string     `json:"do,omitempty"` // what to do about it
}

// Refused is a package of a finished build that is in no repository.
type Refused struct {
	Project string `json:"project"`
	Target  string `json:"target"`
	events.RefusedPackage
	Published time.Time `json:"published"` // when that was announced
}

// Status is what is not published, of all projects and targets or of one.
type Status struct {
	Waiting []Waiting `json:"waiting"`
	Refused []Refused `json:"refused"`
}

// Status finds the builds that wait, whether or not a publisher runs, and what was refused since a time. A build that
// is behind one which waits was perhaps published already: the repositories tell.
func (p *Publisher) Status(ctx context.Context, project, target string, since time.Time) (Status, error) {
	s := Status{Waiting: []Waiting{}, Refused: []Refused{}}
	asked := func(its desk) bool {
		return (project == "" || its.project == project) && (target == "" || its.target == target)
	}
	refused := map[string]bool{} // by build and file
	err := p.events.Since(ctx, since, func(pub events.Publication) error {
		for _, r := range pub.Refused {
			refused[r.Build+" "+r.Name] = true
			if asked(desk{pub.Project, pub.Target}) {
				s.Refused = append(s.Refused, Refused{pub.Project, pub.Target, r, pub.Published})
			}
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	shelves := map[Place]*shelf{}
	err = events.Unpublished(ctx, p.o.JS, func(e events.Event) error {
		b := e.Build
		if !asked(desk{b.Project, b.Target}) || !p.concerns(b) {
			return nil
		}
		done, err := p.isPublished(ctx, b, refused, shelves)
		if done || err != nil {
			return err
		}
		w, err := p.waiting(ctx, b)
		s.Waiting = append(s.Waiting, w)
		return err
	})
	return s, err
}

// concerns reports whether a finished build is to be published.
func (p *Publisher) concerns(b rpmflow.Build) bool {
	return b.Outcome != nil && b.Outcome.Result == rpmflow.Succeeded && b.FinishedAt != nil && p.o.Rules(b.Project).On
}

func (p *Publisher) waiting(ctx context.Context, b rpmflow.Build) (Waiting, error) {
	w := Waiting{Build: b.ID, Project: b.Project, Package: b.Package, Target: b.Target, Finished: *b.FinishedAt,
		Do: "it is published in a moment"}
	if w.Stuck = p.o.now().Sub(w.Finished) >= stuckAfter; w.Stuck {
		w.Do = "start a publisher, or look into its log"
	}
	f, err := p.events.LastFailure(ctx, b.Project, b.Target)
	if err != nil || !f.At.After(w.Finished) {
		return w, err
	}
	w.Stuck, w.Error, w.Failed, w.Do = true, f.Error, &f.At, f.Hint
	if w.Do == "" {
		w.Do = "look into the publisher's log: it tries again"
	}
	return w, nil
}

// shelf is what a repository has or has had.
type shelf struct {
	packages map[madeBy]bool
	newest   map[string]time.Time // when the newest build of each package ended
}

// isPublished reports whether all packages of a build are in their repositories, were there, or never will be.
func (p *Publisher) isPublished(
	ctx context.Context, b rpmflow.Build, refused map[string]bool, shelves map[Place]*shelf,
) (bool, error) {
	for _, a := range b.Artifacts {
		kind, ok := kindOf(a)
		if !ok || refused[b.ID+" "+a.Name] {
			continue
		}
		place := Place{b.Project, b.Target, kind}
		s := shelves[place]
		if s == nil {
			var err error
			if s, err = p.shelf(ctx, place); err != nil {
				return false, err
			}
			shelves[place] = s
		}
		replaced := p.o.Rules(b.Project).Keep > 0 && s.newest[b.Package].After(*b.FinishedAt)
		if !s.packages[madeBy{b.ID, a.NEVRA}] && !replaced {
			return false, nil
		}
	}
	return true, nil
}

func (p *Publisher) shelf(ctx context.Context, place Place) (*shelf, error) {
	s := &shelf{map[madeBy]bool{}, map[string]time.Time{}}
	removed, _, err := p.removals(ctx, place)
	if err != nil {
		return nil, err
	}
	for _, r := range removed {
		s.packages[r.madeBy] = true
	}
	state, err := p.State(ctx, place)
	if errors.Is(err, ErrNoRepository) || errors.Is(err, errState) || errors.Is(err, errLost) {
		return s, nil // nothing is published
	}
	if err != nil {
		return nil, err
	}
	for _, r := range state.Removed {
		s.packages[madeBy{r.Build, r.NEVRA.String()}] = true
	}
	for _, e := range state.Entries() {
		s.packages[madeBy{e.Build, e.NEVRA.String()}] = true
		if e.Built.After(s.newest[e.Package]) {
			s.newest[e.Package] = e.Built
		}
	}
	return s, nil
}
