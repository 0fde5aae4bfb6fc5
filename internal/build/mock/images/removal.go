package images

import (
	"context"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
)

// removals are containers that are removed in the background: the files of a container take time to delete, and the
// build has ended. What fails is left to the sweep.
type removals struct {
	wait    sync.WaitGroup
	pending sync.Map      // ids of the containers that are to be removed: the sweep leaves them alone
	slots   chan struct{} // of removals at once: builds need the disk
	// ends with the store: what is done before a removal for the sake of later builds is given up then
	closing context.Context
	end     context.CancelFunc
}

const (
	removeAtOnce = 2
	removeWait   = time.Minute
)

func newRemovals() removals {
	closing, end := context.WithCancel(context.Background())
	return removals{slots: make(chan struct{}, removeAtOnce), closing: closing, end: end}
}

// RemoveLater removes a container that has ended, in the background.
func (s *Store) RemoveLater(id string) { s.removeAfter(id, func() {}) }

// removeAfter removes a container in the background, after first has returned.
func (s *Store) removeAfter(id string, first func()) {
	s.removals.pending.Store(id, true)
	s.removals.wait.Go(func() {
		defer s.removals.pending.Delete(id)
		first()
		s.removals.slots <- struct{}{}
		defer func() { <-s.removals.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), removeWait)
		defer cancel()
		if err := s.docker.Remove(ctx, id); err != nil {
			s.s.Logger.Warn("container not removed: the next sweep tries again", "container", id, "error", err)
		}
	})
}

// unlock frees the name of a container that has made a shared image, for which others wait, and removes the container
// after first has returned.
func (s *Store) unlock(id string, first func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), docker.CallWait)
	defer cancel()
	if err := s.docker.Rename(ctx, id, "rpmflow-"+s.s.Installation+"-done-"+id[:12]); err != nil {
		return s.docker.Remove(ctx, id)
	}
	s.removeAfter(id, first)
	return nil
}
