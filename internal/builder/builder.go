// Package builder takes builds from the queue, as many at a time as it has slots, and sees each of them through to its one outcome.
//
// Build messages come in; events, artifacts and acknowledged messages go out. Who owns a build is decided by EVENTS alone:
// what this program believes of a build it has confirmed by a fenced publish. cmd/builder and `rpmflow up` start it; any
// number may run, on any host, and each can be killed at any time.
package builder

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/events"
)

// Options of a builder; all of them are valid values, checked by the configuration.
type Options struct {
	Name        string
	Archs       []string
	Targets     []rpmflow.Target
	Jobs        int           // how many builds at a time
	DrainTime   time.Duration // how long the first SIGTERM lets a build go on
	Poll        time.Duration // how often to look for work without being woken up
	AckWait     time.Duration // after how much silence others take a builder for dead
	RetryDelay  time.Duration // before the second attempt; doubled for each further one
	MaxFailures int           // of the infrastructure, until a build is given up
	DataDir     string
	// Room says whether there is disk space and memory for another build; nil: always.
	Room   func() error
	Status *Status // is kept up to date; nil: nobody asks
	Logger *slog.Logger
}

// maxLost is how many attempts of a build may end with a builder that falls silent: something in the build may kill builders.
const maxLost = 5

const (
	claimWait = 30 * time.Second
	// An outcome is worth waiting for while NATS is away, less so when the program is to end.
	settleWait = 15 * time.Minute
	drainWait  = 30 * time.Second
	recordWait = time.Minute // for storing the final record
	// The same where the finished event alone will do, in a claim also without heartbeats.
	optionalRecordWait = 15 * time.Second
	fullPause          = 5 * time.Second // before a full stream is tried again
	readyFor           = 5 * time.Second // how long a good answer of engine and storage is believed
	sweepEvery         = 5 * time.Minute
	maxDelay           = time.Hour // between two attempts
)

// Health says whether the storage can take results.
type Health interface {
	Healthy(ctx context.Context) error
}

// Sweeper is implemented by engines that leave things behind when the builder is killed.
type Sweeper interface {
	Sweep(ctx context.Context, wanted func(ctx context.Context, build string, attempt int) (bool, error)) error
}

// Builder is the running program.
type Builder struct {
	o        Options
	log      *slog.Logger
	instance string // this process, in events: a restarted builder of the same name is another
	ledger   *events.Ledger
	queue    *events.Queue
	logs     *events.Logs
	runner   *build.Runner
	storage  Health
	work     *dirlock.Temp
	status   *Status
	ready    time.Time   // when engine and storage were last seen to work
	doubt    atomic.Bool // whether a build has failed since then for reasons that are not its own

	// Of the main loop: builds that could not be begun here.
	postponed recently
	aside     time.Time // until then others look first
	explained explanation
	told      map[string]rpmflow.Build // queued builds, by id, whose records say why they wait for us
	retracted time.Time
	looked    time.Time
	unserved  map[string]bool // targets that the log has said to wait
}

// New prepares a builder; Run runs it.
func New(ctx context.Context, o Options, nc *nats.Conn, js jetstream.JetStream, runner *build.Runner, storage Health) (*Builder, error) {
	ledger, err := events.NewLedger(ctx, js)
	if err != nil {
		return nil, err
	}
	queue, err := events.NewQueue(ctx, nc, js, o.AckWait)
	if err != nil {
		return nil, err
	}
	ledger.NotifyQueue(queue)
	logs, err := events.NewLogs(nc, o.Logger)
	if err != nil {
		return nil, err
	}
	work, err := openWorkDir(filepath.Join(o.DataDir, "work"), o.Logger)
	if err != nil {
		return nil, err
	}
	status := o.Status
	if status == nil {
		status = NewStatus()
	}
	status.connected(nc, o.Jobs)
	return &Builder{
		o: o, log: o.Logger, instance: uuid.NewString(), ledger: ledger, queue: queue, logs: logs, runner: runner, storage: storage, work: work, status: status, unserved: map[string]bool{}, told: map[string]rpmflow.Build{},
	}, nil
}

// errDrained is why a build is interrupted when the drain time is over.
var errDrained = errors.New("the builder is shutting down")

// Run takes builds until ctx ends, lets those in hand go on for the drain time, and hands back those for which that was not
// enough. When hard ends, they are handed back at once.
func (b *Builder) Run(ctx, hard context.Context) error {
	defer func() {
		if err := b.work.Remove(); err != nil {
			b.log.Warn("work directory not removed", "error", err)
		}
	}()
	work, stop, err := b.queue.WorkNotices(b.o.Archs)
	if err != nil {
		return err
	}
	defer stop()
	defer context.AfterFunc(ctx, b.status.drain)()
	fctx, unfollow := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer unfollow()
	following.Go(func() { b.queue.Follow(fctx, b.log) })
	slots := make(chan struct{}, b.o.Jobs) // holds a token for each build in hand
	var builds sync.WaitGroup
	defer builds.Wait()
	defer b.status.rest()
	b.log.Info("waiting for builds", "builder", b.o.Name, "engine", b.runner.Engine.Name(), "archs", b.o.Archs, "jobs", b.o.Jobs)
	var swept, complained time.Time
	for {
		b.status.moved(idleMove + b.o.Poll)
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		case <-time.After(lookEvery): // all slots are taken, and the loop lives all the same
			b.retract(ctx)
			continue
		}
		if time.Since(swept) > sweepEvery {
			b.sweep(ctx)
			swept = time.Now()
		}
		d, err := b.next(ctx)
		b.status.Waiting(err)
		if err != nil && ctx.Err() == nil && time.Since(complained) > time.Minute {
			b.log.Warn("taking no builds for now", "builder", b.o.Name, "error", err)
			complained = time.Now()
		}
		if d == nil {
			b.explain(ctx, err)
			if err == nil {
				b.look(ctx)
				b.retract(ctx)
			}
			<-slots
			b.pause(ctx, work)
			continue
		}
		if !complained.IsZero() {
			b.log.Info("taking builds again", "builder", b.o.Name)
			complained = time.Time{}
		}
		if ctx.Err() != nil { // taken in the moment of the end
			release(d, b.log)
			return nil
		}
		o, ok := b.accept(ctx, d)
		if o == nil {
			<-slots
			if !ok {
				b.pause(ctx, nil)
			}
			continue
		}
		over := b.status.begun(d.Build.Timeout() + buildMove)
		builds.Go(func() {
			defer func() { <-slots }()
			defer over()
			o.handle(ctx, hard)
		})
	}
}

// pause waits until there may be something to do.
func (b *Builder) pause(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(max(b.o.Poll, time.Until(b.aside)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

// next takes a build when all that it needs is there: what cannot be built here and now is left to others.
func (b *Builder) next(ctx context.Context) (*events.Delivery, error) {
	if b.o.Room != nil {
		if err := b.o.Room(); err != nil {
			return nil, err
		}
	}
	if b.doubt.Swap(false) { // what has spoiled one build would spoil the next
		b.ready = time.Time{}
	}
	if time.Since(b.ready) > readyFor {
		if err := b.runner.Engine.Ready(ctx); err != nil {
			return nil, Because(ReasonEngine, err)
		}
		if err := b.storage.Healthy(ctx); err != nil {
			return nil, Because(ReasonStorage, err)
		}
		b.ready = time.Now()
	}
	d, err := b.queue.Take(ctx, b.o.Archs, b.log)
	return d, Because(ReasonNATS, err)
}

// accept claims the build of a delivery; there is no owner when nothing is left to do. It reports whether to look for the next at
// once: what could not be claimed now is given back, and would come again and again in no time.
func (b *Builder) accept(ctx context.Context, d *events.Delivery) (_ *owner, ok bool) {
	log := b.log.With("project", d.Build.Project, "target", d.Build.Target, "build", d.Build.ID)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), claimWait)
	defer cancel()
	claimed, owned, err := b.claim(ctx, d, log)
	if err != nil {
		log.Warn("build not claimed, giving it back", "error", err)
		release(d, log)
		return nil, false
	}
	if !owned {
		return nil, true
	}
	return b.newOwner(d, claimed, log.With("attempt", claimed.build.Attempt)), true
}

// release gives a message back that was not begun.
func release(d *events.Delivery, log *slog.Logger) {
	if err := d.Release(); err != nil {
		log.Warn("message not given back: it comes again after the ack wait", "error", err)
	}
}

func (b *Builder) target(name string) (rpmflow.Target, bool) {
	for _, t := range b.o.Targets {
		if t.Name == name {
			return t, true
		}
	}
	return rpmflow.Target{}, false
}

// sweep has the engine remove what dead attempts have left: all that EVENTS does not name as running.
func (b *Builder) sweep(ctx context.Context) {
	s, ok := b.runner.Engine.(Sweeper)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := s.Sweep(ctx, func(ctx context.Context, id string, attempt int) (bool, error) {
		last, err := b.ledger.LastOf(ctx, id)
		if errors.Is(err, events.ErrNone) {
			return false, nil
		}
		if err != nil {
			return true, err
		}
		return last.Build.State == rpmflow.Running && last.Build.Attempt == attempt, nil
	})
	if err != nil && ctx.Err() == nil {
		b.log.Warn("not everything that dead attempts have left is removed", "error", err)
	}
}

// delay is the pause before the next attempt.
func (b *Builder) delay(failures int) time.Duration {
	d := b.o.RetryDelay
	for range failures - 1 {
		if d *= 2; d > maxDelay {
			return maxDelay
		}
	}
	return d
}
