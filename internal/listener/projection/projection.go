// Package projection keeps the read model up to date with EVENTS.
//
// Events come in through one consumer of the stream; the read model and the hub, which hands the same events to those
// who follow a build, go out. Both can be thrown away: what is missing is read from EVENTS again. The listener imports
// it; it is independent of HTTP.
package projection

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hub"
	"github.com/rpmflow/rpmflow/internal/readmodel"
)

// The hub keeps so many of the newest events at most. One event has the record of a build: mostly a few kilobytes, at
// most the message size of NATS. In memory an event takes about twice its bytes, because it is there decoded, too.
const (
	keptEvents = 512
	keptBytes  = 32 << 20
)

// Projection feeds the read model from EVENTS.
type Projection struct {
	Hub      *hub.Hub
	Model    *readmodel.Model
	position atomic.Uint64 // sequence of the last event that is in the model
	caughtUp atomic.Bool   // what happened before the start is in the model
}

// Open opens EVENTS and the read model of it, which the caller closes. Events are read while Hub.Run and Run run.
func Open(ctx context.Context, js jetstream.JetStream, dataDir string) (*Projection, error) {
	stream, err := js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	info := stream.CachedInfo()
	source := func(ctx context.Context, after uint64, caughtUp func(), handle func(events.Event) error) error {
		return events.Replay(ctx, js, after, caughtUp, handle)
	}
	p := &Projection{Hub: hub.New(source, info.State.LastSeq, keptEvents, keptBytes)}
	identity := events.StreamEvents + " " + info.Created.UTC().Format(time.RFC3339Nano)
	var position uint64
	if p.Model, position, err = readmodel.Open(filepath.Join(dataDir, "listener"), identity); err != nil {
		return nil, err
	}
	p.position.Store(position)
	return p, nil
}

// News makes a reader of the events that the model does not have yet, as far as the hub keeps them, and of those that
// come.
func (p *Projection) News() *hub.Reader {
	if reader, err := p.Hub.After(p.position.Load()); err == nil {
		return reader
	}
	return p.Hub.Now()
}

// CaughtUp reports whether what happened before the start is in the model.
func (p *Projection) CaughtUp() bool { return p.caughtUp.Load() }

// Run applies events until ctx ends, or the model or NATS fails. It can be called again.
func (p *Projection) Run(ctx context.Context) error {
	return p.Hub.Follow(ctx, p.position.Load(), func() { p.caughtUp.Store(true) }, func(e events.Event) error {
		if err := p.Model.Apply(ctx, e.Sequence, e.Build); err != nil {
			return err
		}
		p.position.Store(e.Sequence)
		return nil
	})
}
