// Package hub hands the events of EVENTS to many readers in one program, with one consumer in NATS.
//
// Events come in from one consumer of the stream; each reader gets those behind the sequence that it names. The
// newest events are kept for all readers together: a reader that falls behind them gets ErrBehind, and can go on from
// the stream itself. Programs that show builds import it.
package hub

import (
	"context"
	"errors"
	"sync"

	"github.com/rpmflow/rpmflow/internal/events"
)

// ErrBehind means that events are missing, which the hub does not keep any more: the reader was too slow, or begins too
// early.
var ErrBehind = errors.New("the hub does not keep these events any more")

// Source hands every event behind a sequence to handle, in order, until ctx ends or handle fails. It calls caughtUp
// once when the past is over. events.Replay is one.
type Source func(ctx context.Context, after uint64, caughtUp func(), handle func(events.Event) error) error

// Hub keeps the newest events. It never waits for a reader.
type Hub struct {
	source Source

	mu     sync.Mutex
	ring   []events.Event // the newest events; that with number n is at n modulo its length
	count  uint64         // events so far, which numbers them
	oldest uint64         // number of the oldest event that is kept
	size   int            // bytes of the events that are kept, as they are stored
	most   int            // its bound
	floor  uint64         // sequence of the newest event that is not kept
	last   uint64         // sequence of the newest event
	more   chan struct{}  // closed with the next event
}

// New makes a hub that begins behind the event with the sequence last. It keeps so many events, or fewer if they have
// more bytes than that together, but always the newest one.
func New(source Source, last uint64, keep, bytes int) *Hub {
	return &Hub{source: source, ring: make([]events.Event, keep), most: bytes, floor: last, last: last,
		more: make(chan struct{})}
}

// Run reads events until ctx ends or the source fails. It can be called again, and goes on where it was.
func (h *Hub) Run(ctx context.Context) error {
	h.mu.Lock()
	after := h.last
	h.mu.Unlock()
	return h.source(ctx, after, func() {}, func(e events.Event) error {
		h.publish(e)
		return nil
	})
}

func (h *Hub) publish(e events.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Sequence <= h.last {
		return
	}
	h.size += len(e.Raw)
	for h.oldest < h.count && (h.size > h.most || h.count-h.oldest == uint64(len(h.ring))) {
		place := h.at(h.oldest)
		h.floor = place.Sequence
		h.size -= len(place.Raw)
		*place = events.Event{}
		h.oldest++
	}
	*h.at(h.count) = e
	h.count++
	h.last = e.Sequence
	close(h.more)
	h.more = make(chan struct{})
}

// at is the place of an event by its number.
func (h *Hub) at(number uint64) *events.Event { return &h.ring[number%uint64(len(h.ring))] }

// Reader reads events one after the other. It holds nothing of the hub, and needs no closing.
type Reader struct {
	hub   *Hub
	next  uint64 // number of the next event
	after uint64 // sequence up to which events are passed over: the reader may be ahead of the hub
}

// Now makes a reader of the events that come.
func (h *Hub) Now() *Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	return &Reader{hub: h, next: h.count}
}

// After makes a reader of the events behind a sequence, or returns ErrBehind.
func (h *Hub) After(sequence uint64) (*Reader, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if sequence < h.floor {
		return nil, ErrBehind
	}
	return &Reader{hub: h, next: h.oldest, after: sequence}, nil
}

// Next waits for the next event. It returns ErrBehind when events between the last one and those that are kept are
// lost to this reader, or the error of ctx.
func (r *Reader) Next(ctx context.Context) (events.Event, error) {
	for {
		e, more, err := r.take()
		if more == nil {
			return e, err
		}
		select {
		case <-ctx.Done():
			return events.Event{}, context.Cause(ctx)
		case <-more:
		}
	}
}

// take returns the next event if it is there, else what to wait for.
func (r *Reader) take() (e events.Event, more <-chan struct{}, err error) {
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.next < h.oldest {
		return e, nil, ErrBehind
	}
	for ; r.next < h.count; r.next++ {
		if e = *h.at(r.next); e.Sequence > r.after {
			r.after = e.Sequence
			return e, nil, nil
		}
	}
	return e, h.more, nil
}

// Follow hands every event behind a sequence to handle, in order, until ctx ends or handle fails.
// Older events come from the source; a handle that is too slow for the hub goes back to it, and misses nothing.
// caughtUp is called once when the past is over.
func (h *Hub) Follow(ctx context.Context, after uint64, caughtUp func(), handle func(events.Event) error) error {
	pass := func(e events.Event) error {
		if err := handle(e); err != nil {
			return err
		}
		after = e.Sequence
		return nil
	}
	once := sync.OnceFunc(caughtUp)
	for {
		reader, err := h.After(after)
		if err != nil {
			past, stop := context.WithCancel(ctx)
			err := h.source(past, after, func() { once(); stop() }, pass)
			caught := past.Err() != nil
			stop()
			if !caught || ctx.Err() != nil {
				return err
			}
			continue
		}
		once()
		for err == nil {
			var e events.Event
			if e, err = reader.Next(ctx); err == nil {
				if err := pass(e); err != nil {
					return err
				}
			}
		}
		if !errors.Is(err, ErrBehind) {
			return err
		}
	}
}
