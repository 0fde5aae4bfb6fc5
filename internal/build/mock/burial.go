package mock

import (
	"context"
	"sync"
	"time"
)

// burials are removals of containers that nobody waits for: what a container has written takes its time to be deleted, and the build has ended.
// What they do not come to is left to the sweep.
type burials struct {
	wait sync.WaitGroup
	mu   sync.Mutex
	due  map[string]bool // containers that are to be removed
	slot chan struct{}   // of removals at once: the disk is the builds'
	// life ends when the engine is shut: what is done before a removal for the sake of later builds is given up then.
	life context.Context
	end  context.CancelFunc
}

const buryAtOnce = 2

func newBurials() burials {
	life, end := context.WithCancel(context.Background())
	return burials{slot: make(chan struct{}, buryAtOnce), life: life, end: end}
}

// bury removes a container that has ended, in the background.
func (e *Engine) bury(id string) { e.buryAfter(id, func() {}) }

// buryAfter removes a container when before has returned.
func (e *Engine) buryAfter(id string, before func()) {
	e.burials.mark(id, true)
	e.burials.wait.Go(func() {
		defer e.burials.mark(id, false)
		before()
		e.burials.slot <- struct{}{}
		defer func() { <-e.burials.slot }()
		ctx, cancel := context.WithTimeout(context.Background(), cleanUpWait)
		defer cancel()
		if err := e.removeContainer(ctx, id); err != nil {
			e.s.Logger.Warn("container not removed: the next sweep tries again", "container", id, "error", err)
		}
	})
}

func (b *burials) mark(id string, due bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !due {
		delete(b.due, id)
		return
	}
	if b.due == nil {
		b.due = map[string]bool{}
	}
	b.due[id] = true
}

// has reports whether a container is about to be removed: the sweep leaves it alone.
func (b *burials) has(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.due[id]
}

// unlock takes the name of a container that has made a shared image away from it, for which others wait, and removes it when before has
// returned.
func (e *Engine) unlock(id string, before func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), callWait)
	defer cancel()
	if err := e.api.ContainerRename(ctx, id, "rpmflow-"+e.s.Installation+"-done-"+id[:12]); err != nil {
		return e.removeContainer(ctx, id)
	}
	e.buryAfter(id, before)
	return nil
}

// How long a container that no build has made may exist after its process has ended, and in all.
const (
	silence = 3 * time.Minute
	longest = keepWait + silence
)
