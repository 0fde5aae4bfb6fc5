// Package builder takes builds from the queue, as many at a time as it has slots, and runs each of them to its one
// outcome.
//
// Build messages come in; events, artifacts and acknowledged messages go out. EVENTS alone decides who owns a build, by
// fenced publishes: any number of builders may run, on any host, and each can be killed at any time. internal/builderd
// imports it.
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
	"github.com/rpmflow/rpmflow/internal/retry"
)

// Options of a builder; all of them are valid values, checked by the configuration.
type Options struct {
	Name        string
	Archs       []string
	Targets     []rpmflow.Target
	Jobs        int           // how many builds at a time
	DrainTime   time.Duration // how long the first SIGTERM lets a build go on
	Poll        time.Duration // how often to look for work without a notice
	AckWait     time.Duration // without a heartbeat, until others take a builder for dead
	RetryDelay  time.Duration // before the second attempt; doubled for each further one
	MaxFailures int           // of the infrastructure, until a build is given up
	DataDir     string
	// Room returns an error if there is not enough disk space or memory for another build. Nil: there always is.
	Room   func() error
	Status *Status // is kept up to date; may be nil
	Logger *slog.Logger
}

// maxLost is how many attempts of a build may end with a builder that stops responding: the build may be the cause.
const maxLost = 5

const (
	claimWait = 30 * time.Second
	// How long to try to publish an outcome while NATS is away, and the same when the program is to end.
	settleWait = 15 * time.Minute
	drainWait  = 30 * time.Second
	recordWait = time.Minute // for storing the final record
	// The same if the finished event alone will do, in a claim also without heartbeats.
	optionalRecordWait = 15 * time.Second
	fullPause          = 5 * time.Second // before a full stream is tried again
	readyFor           = 5 * time.Second // how long a good answer of engine and storage is valid
	sweepEvery         = 5 * time.Minute
	maxDelay           = time.Hour // between two attempts
)

// Health reports whether the storage can take results.
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
	recheck  atomic.Bool // a build has failed since then because of the infrastructure

	// Of the main loop: builds that could not start here.
	postponed recentTimes
	notBefore time.Time // until then other builders take postponed builds first
	explained explanation
	entries   map[string]rpmflow.Build // queued builds, by id, whose records have a waiting entry of this builder
	retracted time.Time                // when entries was last checked
	looked    time.Time                // when the targets were last checked
	unserved  map[string]bool          // targets whose builds wait, as logged
}

// New prepares a builder; Run runs it.
func New(
	ctx context.Context, o Options, nc *nats.Conn, js jetstream.JetStream, runner *build.Runner, storage Health,
) (*Builder, error) {
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
		o: o, log: o.Logger, instance: uuid.NewString(), ledger: ledger, queue: queue, logs: logs, runner: runner,
		storage: storage, work: work, status: status, unserved: map[string]bool{}, entries: map[string]rpmflow.Build{},
	}, nil
}

// errDrained is why a build is interrupted when the drain time is over.
var errDrained = errors.New("the builder is shutting down")

// Run takes builds until ctx ends. Running builds may then continue for the drain time; those that have not ended by
// then are handed back. When hard ends, they are handed back at once.
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
	defer b.status.stopped()
	b.log.Info("waiting for builds", "builder", b.o.Name, "engine", b.runner.Engine.Name(), "archs", b.o.Archs,
		"jobs", b.o.Jobs)
	var swept, complained time.Time
	for {
		b.status.moved(idleMove + 2*b.o.Poll)
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		case <-time.After(lookEvery): // all slots are taken
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
		if ctx.Err() != nil { // ended meanwhile
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

// pause waits until there may be something to do. Builders do not look in step: they would all ask for the same builds.
func (b *Builder) pause(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(max(retry.Policy{First: b.o.Poll}.Pause(1), time.Until(b.notBefore)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

// next takes a build if everything that builds need is there. Otherwise builds are left to others.
func (b *Builder) next(ctx context.Context) (*events.Message, error) {
	if b.o.Room != nil {
		if err := b.o.Room(); err != nil {
			return nil, err
		}
	}
	if b.recheck.Swap(false) { // the next build could fail for the same reason
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

// accept claims the build of a delivery; there is no owner if nothing is left to do. It reports whether to look for the
// next build at once: a message that could not be claimed is handed back, and would be delivered again immediately.
func (b *Builder) accept(ctx context.Context, d *events.Message) (_ *owner, ok bool) {
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

// release returns a message to the queue.
func release(d *events.Message, log *slog.Logger) {
	if err := d.Release(); err != nil {
		log.Warn("message not given back: it is delivered again after the ack wait", "error", err)
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

// sweep makes the engine remove what dead attempts have left: everything that is not of a running attempt in EVENTS.
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
		b.log.Warn("leftovers of dead attempts not removed", "error", err)
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
