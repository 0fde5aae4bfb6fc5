// Package images keeps the images that builds share on a container engine: the initialised root of a target, and that
// root with the BuildRequires of a package in it.
//
// A recipe comes in: how an image is recognised, and how its container is made and run. The image goes out, made by one
// of all builds on the engine that want it, while the others wait. Only the engine mock imports it; it imports the
// transport and the domain.
package images

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
)

// The labels by which containers and images are found again.
const (
	LabelInstallation = "dev.rpmflow.installation"
	LabelBuild        = "dev.rpmflow.build"
	LabelAttempt      = "dev.rpmflow.attempt"
)

// Settings of the store.
type Settings struct {
	// Installation distinguishes images of ours from those of another rpmflow on the same engine.
	Installation string
	// Packages is how many bytes the downloaded packages of one target may take; zero: none are kept.
	Packages int64
	Logger   *slog.Logger
}

// Store finds, makes and removes the images of one installation on one engine. All state is on the engine: all builders
// there see the same.
type Store struct {
	s        Settings
	docker   *docker.Client
	removals removals
}

// New makes a store; nothing is called yet.
func New(d *docker.Client, s Settings) *Store {
	return &Store{s: s, docker: d, removals: newRemovals()}
}

// Close waits until the containers that are still to be removed are gone. What is done before a removal for later
// builds is given up.
func (s *Store) Close() {
	s.removals.end()
	s.Wait()
}

// Wait waits until the containers that are to be removed in the background are gone.
func (s *Store) Wait() { s.removals.wait.Wait() }

// Labels are those of the containers that an attempt makes. Without a build they are made ahead of builds, and EVENTS
// does not have them.
func (s *Store) Labels(b rpmflow.Build) map[string]string {
	attempt := ""
	if b.ID != "" {
		attempt = strconv.Itoa(b.Attempt)
	}
	return map[string]string{LabelInstallation: s.s.Installation, LabelBuild: b.ID, LabelAttempt: attempt}
}

func (s *Store) ours() string { return LabelInstallation + "=" + s.s.Installation }

// Sweep removes containers and images that belong to no attempt any more, and shared images that are outdated or, the
// least recently used first, exceed the budget. wanted has read EVENTS.
func (s *Store) Sweep(
	ctx context.Context, budget int64, wanted func(ctx context.Context, build string, attempt int) (bool, error),
) error {
	containers, err := s.docker.Containers(ctx, s.ours())
	if err != nil {
		return err
	}
	unwanted := func(what, id string, running bool, labels map[string]string) (bool, error) {
		attempt, err := strconv.Atoi(labels[LabelAttempt])
		if err != nil {
			return false, nil // not of an attempt
		}
		keep, err := wanted(ctx, labels[LabelBuild], attempt)
		if err == nil && !keep {
			level := slog.LevelDebug // another builder may be about to remove it
			if running {
				level = slog.LevelInfo
			}
			s.s.Logger.Log(ctx, level, "removing what an attempt that is over has left", what, id,
				"build", labels[LabelBuild], "attempt", attempt)
		}
		return !keep, err
	}
	var errs []error
	for _, c := range containers {
		if _, pending := s.removals.pending.Load(c.ID); pending {
			continue
		}
		remove, err := unwanted("container", c.ID, c.Running, c.Labels)
		if c.Labels[LabelAttempt] == "" {
			remove, err = s.abandoned(ctx, c.ID)
		}
		if err == nil && remove {
			err = s.docker.Remove(ctx, c.ID)
		}
		errs = append(errs, err)
	}
	images, err := s.docker.Images(ctx, docker.ImageFilter{Labels: []string{s.ours()}})
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, i := range images {
		remove, err := unwanted("image", i.ID, false, i.Labels)
		if err == nil && remove {
			err = s.docker.RemoveImage(ctx, i.ID)
		}
		errs = append(errs, err)
	}
	removed, err := s.Prune(ctx, budget)
	for _, r := range removed {
		s.s.Logger.Info("removed an image that builds shared", "target", r.Target, "image", r.Name,
			"outdated", r.Outdated, "last_used", r.Used)
	}
	return errors.Join(append(errs, err)...)
}

// abandoned reports whether a container that no build has made is not used any more.
func (s *Store) abandoned(ctx context.Context, id string) (bool, error) {
	info, err := s.docker.Inspect(ctx, id)
	if docker.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return dead(info), nil
}

const (
	// deadEnded is how long a container that no build has made may exist after its process has ended, and deadRunning
	// how long in all.
	deadEnded   = 3 * time.Minute
	deadRunning = compareWait + deadEnded
	// deadOfBuild is how long the container of a build may exist after its process has ended: longer than the longest
	// commit. Most are removed earlier, by the sweep of what dead attempts have left.
	deadOfBuild = docker.CommitWait + time.Minute
)

// dead reports whether the builder that made a container is gone, because the container has not been used for too long.
// Those of builds are in EVENTS, and the build's timeout ends them while they run. Those that were made ahead of builds
// are known to their builder only.
func dead(info docker.ContainerInfo) bool {
	ofBuild := info.Labels[LabelAttempt] != ""
	most := deadOfBuild
	switch {
	case ofBuild && info.Running:
		return false
	case info.Running:
		most = deadRunning
	case !ofBuild:
		most = deadEnded
	}
	last := info.Ended
	if last.IsZero() {
		last = info.Created
	}
	return !last.IsZero() && time.Since(last) > most
}
