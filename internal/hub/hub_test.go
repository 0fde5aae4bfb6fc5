package hub_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hub"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 30 * time.Second
	plenty   = 1 << 20 // bytes that a hub keeps
)

// stream is a source in memory.
type stream struct {
	mu   sync.Mutex
	all  []events.Event
	more chan struct{}
	fail error // of those who read
}

func newStream(sequences ...uint64) *stream {
	s := &stream{more: make(chan struct{})}
	s.add(sequences...)
	return s
}

func (s *stream) add(sequences ...uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range sequences {
		s.all = append(s.all, events.Event{Sequence: n})
	}
	close(s.more)
	s.more = make(chan struct{})
}

// breakOff makes every reader fail, once each.
func (s *stream) breakOff(err error) {
	s.mu.Lock()
	s.fail = err
	s.mu.Unlock()
	s.add()
}

func (s *stream) read(ctx context.Context, after uint64, caughtUp func(), handle func(events.Event) error) error {
	caughtUp = sync.OnceFunc(caughtUp)
	for {
		s.mu.Lock()
		var e *events.Event
		if i := sort.Search(len(s.all), func(i int) bool { return s.all[i].Sequence > after }); i < len(s.all) {
			e = &s.all[i]
		}
		more, fail := s.more, s.fail
		s.fail = nil
		s.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case fail != nil:
			return fail
		case e != nil:
			if err := handle(*e); err != nil {
				return err
			}
			after = e.Sequence
		default:
			caughtUp()
			select {
			case <-ctx.Done():
			case <-more:
			}
		}
	}
}

// run runs a hub until the test ends.
func run(t *testing.T, h *hub.Hub) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			_ = h.Run(ctx)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// take reads so many sequences.
func take(t *testing.T, r *hub.Reader, n int) (got []uint64) {
	t.Helper()
	ctx := bounded(t)
	for range n {
		e, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		got = append(got, e.Sequence)
	}
	return got
}

func TestReadersResumeFromASequence(t *testing.T) {
	t.Parallel()
	s := newStream(3, 4)
	h := hub.New(s.read, 4, 4, plenty)
	now := h.Now()
	run(t, h)
	s.add(7, 8, 9)
	if got := take(t, now, 3); !slices.Equal(got, []uint64{7, 8, 9}) {
		t.Errorf("%v", got)
	}
	for after, want := range map[uint64][]uint64{4: {7, 8, 9}, 5: {7, 8, 9}, 7: {8, 9}, 8: {9}} {
		r, err := h.After(after)
		if err != nil {
			t.Fatal(after, err)
		}
		if got := take(t, r, len(want)); !slices.Equal(got, want) {
			t.Errorf("after %d: %v", after, got)
		}
	}
	if _, err := h.After(3); !errors.Is(err, hub.ErrBehind) {
		t.Errorf("an event before the hub's beginning: %v", err)
	}
	s.add(12, 13)
	take(t, now, 2)
	if _, err := h.After(6); !errors.Is(err, hub.ErrBehind) {
		t.Errorf("an event that is not kept: %v", err)
	}
	if r, err := h.After(7); err != nil || !slices.Equal(take(t, r, 4), []uint64{8, 9, 12, 13}) {
		t.Errorf("all that is kept: %v", err)
	}
}

func TestASlowReaderGetsAnError(t *testing.T) {
	t.Parallel()
	s := newStream()
	h := hub.New(s.read, 0, 4, plenty)
	slow, fast := h.Now(), h.Now()
	run(t, h)
	for n := range uint64(100) {
		s.add(n + 1)
		take(t, fast, 1)
	}
	if _, err := slow.Next(bounded(t)); !errors.Is(err, hub.ErrBehind) {
		t.Errorf("%v", err)
	}
}

// Records can be large: the bytes of the events that are kept have a bound, too.
func TestEventsAreKeptByTheirBytes(t *testing.T) {
	t.Parallel()
	var all []events.Event
	h := hub.New(func(_ context.Context, _ uint64, _ func(), handle func(events.Event) error) error {
		for _, e := range all {
			if err := handle(e); err != nil {
				return err
			}
		}
		return nil
	}, 0, 8, 100)
	for i, test := range []struct {
		size int
		kept []uint64
	}{
		{10, []uint64{1}}, {40, []uint64{1, 2}}, {50, []uint64{1, 2, 3}}, {1, []uint64{2, 3, 4}}, {60, []uint64{4, 5}},
		{1000, []uint64{6}}, {100, []uint64{7}}, {0, []uint64{7, 8}},
	} {
		n := uint64(i) + 1
		all = append(all, events.Event{Sequence: n, Raw: make([]byte, test.size)})
		testkit.Must(t, h.Run(t.Context()))
		first := test.kept[0] - 1
		if r, err := h.After(first); err != nil || !slices.Equal(take(t, r, len(test.kept)), test.kept) {
			t.Errorf("event %d: %v is not kept: %v", n, test.kept, err)
		}
		if _, err := h.After(first - 1); first > 0 && !errors.Is(err, hub.ErrBehind) {
			t.Errorf("event %d: more than %v is kept: %v", n, test.kept, err)
		}
	}
}

func TestAReaderEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := hub.New(newStream().read, 0, 4, plenty)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	time.AfterFunc(time.Millisecond, func() { cancel(gone) })
	if _, err := h.Now().Next(ctx); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// Followers of every speed, from every sequence, see each event once and in order, while the hub's source fails now
// and then.
func TestFollowersMissNothing(t *testing.T) {
	t.Parallel()
	const count = 2000
	s := newStream(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	h := hub.New(s.read, 10, 16, plenty)
	run(t, h)
	enough := errors.New("enough")
	var followers sync.WaitGroup
	for i := range 12 {
		after, slow := uint64(i), i%3 == 0
		followers.Go(func() {
			err := errBroken
			for next := after + 1; errors.Is(err, errBroken); { // the caller goes on where it was
				err = h.Follow(bounded(t), next-1, func() {}, func(e events.Event) error {
					if e.Sequence != next {
						return fmt.Errorf("event %d, want %d", e.Sequence, next)
					}
					next++
					if slow && next%100 == 0 {
						time.Sleep(time.Millisecond)
					}
					if e.Sequence == count {
						return enough
					}
					return nil
				})
			}
			if !errors.Is(err, enough) {
				t.Errorf("from %d: %v", after, err)
			}
		})
	}
	for n := uint64(11); n <= count; n++ {
		s.add(n)
		if n%500 == 0 {
			s.breakOff(errBroken)
		}
	}
	followers.Wait()
}

var errBroken = errors.New("broken off")

func TestFollowSaysWhenThePastIsOver(t *testing.T) {
	t.Parallel()
	s := newStream(1, 2, 3)
	h := hub.New(s.read, 3, 4, plenty)
	run(t, h)
	ctx, cancel := context.WithCancel(bounded(t))
	var seen []uint64
	err := h.Follow(ctx, 0, func() {
		if !slices.Equal(seen, []uint64{1, 2, 3}) {
			t.Errorf("caught up after %v", seen)
		}
		s.add(4)
	}, func(e events.Event) error {
		if seen = append(seen, e.Sequence); e.Sequence == 4 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(seen, []uint64{1, 2, 3, 4}) {
		t.Errorf("%v, %v", seen, err)
	}
}
