package mock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
)

// recipe says how an image that builds share is found and made.
type recipe struct {
	kind  kind
	key   string
	phase rpmflow.Phase
	good  func(c cached) bool                                                                 // whether what is there will do
	plan  func(have *cached) step                                                             // the container that makes it, from what is there or from nothing
	done  func(ctx context.Context, have *cached, end ended, began time.Time) (cached, error) // the image of the container that has ended
}

// what says what is made, for those who wait for it.
func (r recipe) what(job build.Job, have *cached) string {
	switch {
	case r.kind != kindRoot:
		return "what " + job.Build.Package + " needs to be built"
	case have == nil:
		return "the root of " + job.Target.Name
	}
	return "the root of " + job.Target.Name + ", compared with its repositories"
}

const (
	lockPoll = 100 * time.Millisecond
	// abandoned is how long a container that makes a shared image may be without life before another build takes its place: longer
	// than the longest commit. Most are removed earlier, by the sweep of what dead attempts have left.
	abandoned = commitWait + time.Minute
)

// shared finds an image, or makes it. Of all builds on the engine that want the same one makes it and the others wait: the
// container that makes it has a name, which the engine gives but once.
func (s *session) shared(ctx context.Context, r recipe) (c cached, have *cached, err error) {
	var waited time.Time // since when; zero: not at all
	for {
		if have, err = s.e.newest(ctx, r.kind, r.key); err != nil {
			return c, nil, err
		}
		if have != nil && r.good(*have) {
			if !waited.IsZero() {
				_, _ = fmt.Fprintf(s.job.Log, "rpmflow: what this build has waited for is there, after %s\n", time.Since(waited).Round(time.Second))
			}
			return *have, have, nil
		}
		st := r.plan(have)
		st.name = s.e.lockName(r.key)
		id, err := s.create(ctx, st)
		if errdefs.IsConflict(err) {
			if waited.IsZero() {
				waited = time.Now()
				_, _ = fmt.Fprintf(s.job.Log, "rpmflow: %s: another builder or build is making it on this engine: waiting for it\n", r.what(s.job, have))
			}
			if err := s.wait(ctx, st.name); err != nil {
				return c, have, err
			}
			continue
		}
		if err != nil {
			return c, have, err
		}
		// Whoever made it in between has removed his container before ours could be created.
		now, err := s.e.newest(ctx, r.kind, r.key)
		if err == nil && !same(now, have) {
			if err := s.e.removeContainer(ctx, id); err != nil {
				return c, have, err
			}
			continue
		}
		if err == nil {
			if c, err = s.makeShared(ctx, r, have, id, st); err != nil {
				s.failsShared(r, st)
			}
		}
		// The others wait for its end, whatever became of it.
		s.containers = slices.DeleteFunc(s.containers, func(other string) bool { return other == id })
		return c, have, errors.Join(err, s.e.unlock(id, func() {
			if err == nil && st.network {
				s.e.collect(id, s.image, s.job.Target.Name)
			}
		}))
	}
}

func (s *session) makeShared(ctx context.Context, r recipe, have *cached, id string, st step) (cached, error) {
	if err := os.RemoveAll(s.dir(r.phase)); err != nil { // of an earlier round
		return cached{}, fmt.Errorf("engine mock: %w", err)
	}
	began := time.Now()
	end, err := s.perform(ctx, r.phase, id, st)
	if err != nil {
		return cached{}, err
	}
	return r.done(ctx, have, end, began)
}

func same(a, b *cached) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.name == b.name && a.id == b.id
}

func (e *Engine) lockName(key string) string {
	return "rpmflow-" + e.s.Installation + "-" + key
}

// wait returns when the container of this name is gone. One that is an earlier attempt's of the same build, or that has shown no
// life for too long, is removed: its owner is dead.
func (s *session) wait(ctx context.Context, name string) error {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		info, err := s.e.api.ContainerInspect(ctx, name)
		if errdefs.IsNotFound(err) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("engine mock: container %s: %w", name, err)
		}
		if s.superseded(info) || dead(info) {
			s.e.s.Logger.Warn("removing the container of a builder that is gone", "container", info.ID, "name", name)
			return s.e.removeContainer(ctx, info.ID)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// superseded says that the container is one of an earlier attempt of the same build.
func (s *session) superseded(info container.InspectResponse) bool {
	attempt, err := strconv.Atoi(info.Config.Labels[LabelAttempt])
	return err == nil && info.Config.Labels[LabelBuild] == s.job.Build.ID && attempt < s.job.Build.Attempt
}

// dead says that a container has shown no life for too long. Of those that a build has made EVENTS knows, and the build's timeout
// ends them while they run; of those that were made ahead of builds nobody knows but who made them.
func dead(info container.InspectResponse) bool {
	ofBuild := info.Config.Labels[LabelAttempt] != ""
	running := info.State != nil && info.State.Running
	most := abandoned
	switch {
	case ofBuild && running || info.State == nil:
		return false
	case running:
		most = longest
	case !ofBuild:
		most = silence
	}
	last, err := time.Parse(time.RFC3339Nano, info.State.FinishedAt)
	if running || err != nil || last.Year() < 2000 { // of one that has never run, its making counts
		last, err = time.Parse(time.RFC3339Nano, info.Created)
	}
	return err == nil && time.Since(last) > most
}

// orphaned says that a container which no build has made is nobody's any more.
func (e *Engine) orphaned(ctx context.Context, id string) (bool, error) {
	info, err := e.api.ContainerInspect(ctx, id)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("engine mock: container %s: %w", id, err)
	}
	return dead(info), nil
}
