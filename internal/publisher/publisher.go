package publisher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/retry"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Options is what a publisher needs.
type Options struct {
	Store  *storage.Store
	JS     jetstream.JetStream
	Signer *sign.Signer // nil: nothing can be changed, or verified
	// URL is where clients find repos/ of the bucket, without a slash at its end.
	URL string
	// Dir is a directory of its own for files in work.
	Dir string
	// Jobs is how many targets are published at once.
	Jobs int
	// Rules are those of a project.
	Rules func(project string) rpmflow.Publish
	// Projects are those that are configured.
	Projects []rpmflow.Project
	Log      *slog.Logger
	// Step, if it is set, is called before each write with what is written: a test ends the publisher there.
	Step func(what string) error
	Now  func() time.Time // nil: time.Now
}

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o Options) step(what string) error {
	if o.Step == nil {
		return nil
	}
	return o.Step(what)
}

// Publisher publishes what builds have made.
type Publisher struct {
	o       Options
	repos   storage.Repositories
	events  events.Publications
	keys    sign.Keyring // of the signer
	metrics metrics

	mu    sync.Mutex
	desks map[desk]*work
	held  map[string]events.Finish // by build
	bad   map[desk]trouble
	swept map[Place]time.Time
	slots chan struct{}
	runs  sync.WaitGroup
}

// otherKeyPause is how long a build waits that a publisher could not publish because it has another key.
const otherKeyPause = 5 * time.Second

// desk is where builds wait for each other: those of a project for a target, or, with an empty target, all of a project
// that publishes the builds of a push together.
type desk struct{ project, target string }

// work is what waits for a desk.
type work struct {
	waiting []events.Finish
	busy    bool
}

// New makes a publisher.
func New(o Options) (*Publisher, error) {
	var keys sign.Keyring
	if o.Signer != nil {
		keys = o.Signer.Keyring()
	}
	if err := dirlock.RemoveAbandoned(o.Dir); err != nil {
		return nil, fmt.Errorf("remove what an earlier run has left: %w", err)
	}
	o.URL = strings.TrimRight(o.URL, "/")
	return &Publisher{
		o: o, repos: o.Store.Repositories(), events: events.NewPublications(o.JS), keys: keys,
		desks: map[desk]*work{}, held: map[string]events.Finish{}, bad: map[desk]trouble{},
		swept: map[Place]time.Time{},
		slots: make(chan struct{}, max(o.Jobs, 1)), metrics: newMetrics(),
	}, nil
}

// Run publishes until ctx ends. What was not published then is published by the next run, here or elsewhere.
func (p *Publisher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	p.runs.Go(func() { p.keep(ctx) })
	err := events.ForPublisher(ctx, p.o.JS, p.o.Log, func(f events.Finish) { p.receive(ctx, f) })
	cancel()
	p.runs.Wait()
	for _, f := range slices.Collect(maps.Values(p.held)) { // nothing else uses it any more
		p.giveBack(f, 0)
	}
	return err
}

// keep tells the server that what is held is still in work.
func (p *Publisher) keep(ctx context.Context) {
	tick := time.NewTicker(events.PublisherWait / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.mu.Lock()
		held := make([]events.Finish, 0, len(p.held))
		for _, f := range p.held {
			held = append(held, f)
		}
		p.mu.Unlock()
		for _, f := range held {
			if err := f.Keep(); err != nil { // it is delivered again, and published once
				p.o.Log.Warn("a finished build cannot be kept", "build", f.Build.ID, "error", err)
			}
		}
	}
}

// receive puts a finished build to what waits for its repositories.
func (p *Publisher) receive(ctx context.Context, f events.Finish) {
	b, rules := f.Build, p.o.Rules(f.Build.Project)
	d := desk{b.Project, b.Target}
	if rules.Together { // a build that has failed decides, too
		d.target = ""
	}
	if b.Outcome == nil || !rules.On || !rules.Together && b.Outcome.Result != rpmflow.Succeeded {
		p.done(ctx, f)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[b.ID] = f
	w := p.desks[d]
	if w == nil {
		w = &work{}
		p.desks[d] = w
	}
	w.waiting = append(w.waiting, f)
	if !w.busy {
		w.busy = true
		p.runs.Go(func() { p.serve(ctx, d) })
	}
}

// serve publishes everything that waits for a desk, until nothing does.
func (p *Publisher) serve(ctx context.Context, d desk) {
	for {
		batch, err := p.batch(ctx, d)
		if len(batch) == 0 || ctx.Err() != nil {
			return
		}
		for _, f := range batch {
			if err != nil {
				p.giveBack(f, otherKeyPause)
			} else {
				p.done(ctx, f)
			}
		}
	}
}

// batch publishes what waits, again and again until it succeeds or ctx ends, with what has come meanwhile. Between two
// tries other desks have their turn. If another publisher has the key of the repository, it gives up.
func (p *Publisher) batch(ctx context.Context, d desk) (batch []events.Finish, err error) {
	log := p.o.Log.With("project", d.project, "target", d.target)
	policy := retry.Policy{First: time.Second, Most: time.Minute, Notify: func(err error, pause time.Duration) {
		p.failed(d, batch, err)
		log.Warn("not published, trying again", "builds", len(batch), "in", pause, "error", hint.Full(err))
	}}
	var places []Place
	err = policy.Do(ctx, func() error {
		select {
		case <-ctx.Done():
			return retry.Permanent(context.Cause(ctx))
		case p.slots <- struct{}{}:
		}
		defer func() { <-p.slots }()
		if batch = p.collect(d, batch); len(batch) == 0 {
			return nil
		}
		var err error
		if d.target == "" {
			places, err = p.publishSet(ctx, batch[0])
		} else {
			places, err = p.publishEach(ctx, d, batch)
		}
		if errors.Is(err, errOtherKey) {
			return retry.Permanent(err)
		}
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			p.failed(d, batch, err)
			log.Error("not published, another publisher has to", "builds", len(batch), "error", hint.Full(err))
		}
		return batch, err
	}
	if len(batch) == 0 { // what was given back is not published: the trouble stays
		return nil, nil
	}
	p.succeeded(d)
	for _, place := range places {
		if p.due(place) {
			if err := p.sweep(ctx, place); err != nil { // it is tried again with a later publication
				log.Warn("old revisions cannot be removed", "target", place.Target, "kind", place.Kind, "error", err)
			}
		}
	}
	return batch, nil
}

// collect adds what waits for a desk to a batch; of a project that publishes pushes together, one build. A desk with
// nothing to do is closed.
func (p *Publisher) collect(d desk, batch []events.Finish) []events.Finish {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.desks[d]
	n := len(w.waiting)
	if d.target == "" {
		n = min(n, 1-len(batch))
	}
	batch = append(batch, w.waiting[:n]...)
	w.waiting = w.waiting[n:]
	if len(batch) == 0 {
		delete(p.desks, d)
	}
	return batch
}

// due reports whether a repository is to be swept, and notes that it was.
func (p *Publisher) due(place Place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := p.swept[place]; p.o.now().Sub(last) < sweepEvery {
		return false
	}
	p.swept[place] = p.o.now()
	return true
}

// giveBack has a finished build delivered again, after a pause, to any publisher.
func (p *Publisher) giveBack(f events.Finish, pause time.Duration) {
	p.mu.Lock()
	delete(p.held, f.Build.ID)
	p.mu.Unlock()
	if err := f.Return(pause); err != nil { // then it is delivered later
		p.o.Log.Warn("a finished build cannot be given back", "build", f.Build.ID, "error", err)
	}
}

// done acknowledges a finished build. If that fails, it is delivered again, and is in its repository already.
func (p *Publisher) done(ctx context.Context, f events.Finish) {
	p.mu.Lock()
	delete(p.held, f.Build.ID)
	p.mu.Unlock()
	if err := f.Done(context.WithoutCancel(ctx)); err != nil {
		p.o.Log.Warn("a published build is not acknowledged, and will be looked at again",
			"build", f.Build.ID, "error", err)
	}
}

// compression is what dnf of the target's release reads.
func compression(target string) repo.Compression {
	for _, old := range []string{"-6-", "-7-", "epel-7", "epel-6"} {
		if strings.Contains(target, old) {
			return repo.Gzip
		}
	}
	return repo.Zstd
}
