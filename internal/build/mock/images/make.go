package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// Recipe says how an image that builds share is recognised and made.
type Recipe struct {
	Kind Kind
	Key  string
	// Build is the one that needs the image; its log has a line when it must wait. What says what it waits for, have
	// being the image that exists.
	Build rpmflow.Build
	Log   io.Writer
	What  func(have *Image) string
	// Good reports whether an image that exists will do.
	Good func(Image) bool
	// Create makes the container with this name that becomes the image, from have (nil: from nothing), and returns its
	// id. The store removes the container.
	Create func(ctx context.Context, name string, have *Image) (string, error)
	// Make runs that container and makes the image, or touches have.
	Make func(ctx context.Context, container string, have *Image) (Image, error)
	// Target has the packages that the container has downloaded, once they are collected with MockImage.
	Target, MockImage string
}

const lockPoll = 100 * time.Millisecond

// Get finds an image, or makes it. Of all builds on the engine that want the same image one makes it and the others
// wait: the container that makes it has a name, which the engine gives only once. have is the image that existed
// before, nil: none.
func (s *Store) Get(ctx context.Context, r Recipe) (image Image, have *Image, err error) {
	var waited time.Time // since when; zero: not at all
	for {
		if have, err = s.Newest(ctx, r.Kind, r.Key); err != nil {
			return image, nil, err
		}
		if have != nil && r.Good(*have) {
			if !waited.IsZero() {
				_, _ = fmt.Fprintf(r.Log, "rpmflow: what this build has waited for is there, after %s\n",
					time.Since(waited).Round(time.Second))
			}
			return *have, have, nil
		}
		name := s.LockName(r.Key)
		id, err := r.Create(ctx, name, have)
		if docker.IsConflict(err) {
			if waited.IsZero() {
				waited = time.Now()
				_, _ = fmt.Fprintf(r.Log, "rpmflow: %s: another builder or build is making it on this engine: "+
					"waiting for it\n", r.What(have))
			}
			if err := s.wait(ctx, name, r.Build); err != nil {
				return image, have, err
			}
			continue
		}
		if err != nil {
			return image, have, err
		}
		// Another build may have made the image, and freed the name, just before this container was created.
		now, err := s.Newest(ctx, r.Kind, r.Key)
		if err == nil && !same(now, have) {
			if err := s.docker.Remove(ctx, id); err != nil {
				s.RemoveLater(id)
				return image, have, err
			}
			continue
		}
		if err == nil {
			image, err = r.Make(ctx, id, have)
		}
		// The others wait for the name to be free, with any result.
		return image, have, errors.Join(err, s.unlock(id, func() {
			if err == nil {
				s.collect(id, r.MockImage, r.Target)
			}
		}))
	}
}

func same(a, b *Image) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Name == b.Name && a.ID == b.ID
}

// LockName is the name of the container that makes the image of a key.
func (s *Store) LockName(key string) string { return "rpmflow-" + s.s.Installation + "-" + key }

// wait returns when the container of this name is gone. It removes a container of an earlier attempt of the same build,
// and one that has not been used for too long: its owner is dead.
func (s *Store) wait(ctx context.Context, name string, b rpmflow.Build) error {
	return retry.Policy{First: lockPoll, Most: lockPoll}.Do(ctx, func() error {
		info, err := s.docker.Inspect(ctx, name)
		switch {
		case docker.IsNotFound(err):
			return nil
		case err != nil:
			return retry.Permanent(err)
		case superseded(info, b) || dead(info):
			s.s.Logger.Warn("removing the container of a builder that is gone", "container", info.ID, "name", name)
			return retry.Permanent(s.docker.Remove(ctx, info.ID))
		}
		return fmt.Errorf("the container %s is still there", name)
	})
}

// superseded reports whether a container is one of an earlier attempt of the same build.
func superseded(info docker.ContainerInfo, b rpmflow.Build) bool {
	attempt, err := strconv.Atoi(info.Labels[LabelAttempt])
	return err == nil && info.Labels[LabelBuild] == b.ID && attempt < b.Attempt
}
