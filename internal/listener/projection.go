package listener

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

// projection feeds the read model from EVENTS.
type projection struct {
	hub      *hub.Hub
	model    *readmodel.Model
	position atomic.Uint64 // sequence of the last event that is in the model
	caughtUp atomic.Bool   // what happened before the start is in the model
}

// openProjection opens EVENTS and the read model of it.
func openProjection(ctx context.Context, js jetstream.JetStream, dataDir string) (*projection, error) {
	stream, err := js.Stream(ctx, events.StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", events.StreamEvents, err)
	}
	info := stream.CachedInfo()
	source := func(ctx context.Context, after uint64, caughtUp func(), handle func(events.Event) error) error {
		return events.Replay(ctx, js, after, caughtUp, handle)
	}
	p := &projection{hub: hub.New(source, info.State.LastSeq, keptEvents, keptBytes)}
	identity := events.StreamEvents + " " + info.Created.UTC().Format(time.RFC3339Nano)
	var position uint64
	if p.model, position, err = readmodel.Open(filepath.Join(dataDir, "listener"), identity); err != nil {
		return nil, err
	}
	p.position.Store(position)
	return p, nil
}

// news makes a reader of the events that the model does not have yet, as far as the hub keeps them, and of those that
// come.
func (p *projection) news() *hub.Reader {
	if reader, err := p.hub.After(p.position.Load()); err == nil {
		return reader
	}
	return p.hub.Now()
}

// run applies events until ctx ends, or the model or NATS fails. It can be called again.
func (p *projection) run(ctx context.Context) error {
	return p.hub.Follow(ctx, p.position.Load(), func() { p.caughtUp.Store(true) }, func(e events.Event) error {
		if err := p.model.Apply(ctx, e.Sequence, e.Build); err != nil {
			return err
		}
		p.position.Store(e.Sequence)
		return nil
	})
}
