package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow/internal/retry"
)

const (
	logChunk = 64 << 10               // bytes in one message at most
	logDelay = 200 * time.Millisecond // until a line is sent that fills no chunk
	// chunks in flight, of all writers; output beyond that is left out of the live log
	logPending = 128
	logEnds    = 16 // of them reserved for the ends of logs
	headerEnd  = "Rpmflow-Log-End"
)

var errLogEnd = errors.New("the log has ended")

// LogWriter sends what is written to it to LOGS. It never blocks the build: when NATS is slow or away, parts are left
// out and a line says so. Memory is bounded by the chunk and the pending messages.
type LogWriter struct {
	js      jetstream.JetStream
	subject string
	log     *slog.Logger

	mu      sync.Mutex
	buffer  []byte
	skipped int
	last    jetstream.PubAckFuture // of the newest message in flight
	timer   *time.Timer
	closed  bool
}

// Logs writes to LOGS. Its resources are freed with the connection: freeing them earlier can leak a goroutine of the
// library (its CleanupPublisher races with the first publish).
type Logs struct {
	js  jetstream.JetStream
	log *slog.Logger
}

// NewLogs prepares to write live logs. The limit of messages in flight is shared by all of its writers.
func NewLogs(nc *nats.Conn, log *slog.Logger) (*Logs, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(logPending),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) {
			log.Debug("chunk of a live log not stored", "subject", m.Subject, "error", err)
		}), jetstream.WithPublishAsyncTimeout(publishWait))
	if err != nil {
		return nil, fmt.Errorf("live logs: %w", err)
	}
	return &Logs{js, log}, nil
}

// Writer begins the live log of a build.
func (l *Logs) Writer(build string) *LogWriter {
	w := &LogWriter{js: l.js, subject: logSubject(build), log: l.log}
	w.timer = time.AfterFunc(time.Hour, func() { w.mu.Lock(); defer w.mu.Unlock(); w.flush() })
	w.timer.Stop()
	return w
}

// Write implements io.Writer; it never fails.
func (w *LogWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		n := min(len(rest), logChunk-len(w.buffer))
		if len(w.buffer) == 0 {
			w.timer.Reset(logDelay)
		}
		w.buffer = append(w.buffer, rest[:n]...)
		rest = rest[n:]
		if len(w.buffer) == logChunk {
			w.flush()
		}
	}
	return len(p), nil
}

func (w *LogWriter) flush() {
	w.timer.Stop()
	if len(w.buffer) == 0 {
		return
	}
	data := w.buffer
	w.buffer = nil
	if w.js.PublishAsyncPending() >= logPending-logEnds {
		w.skipped += len(data)
		return
	}
	if w.skipped > 0 {
		data = append(fmt.Appendf(nil, "\n[%d bytes are left out here; the stored log is complete]\n", w.skipped),
			data...)
		w.skipped = 0
	}
	sent, err := w.js.PublishAsync(w.subject, data)
	if err != nil {
		w.skipped += len(data)
		return
	}
	w.last = sent
}

// Close sends the rest, marks the end of the log if end is set, and waits for the server until ctx ends.
func (w *LogWriter) Close(ctx context.Context, end bool) {
	w.mu.Lock()
	w.flush()
	w.closed = true
	last := w.last
	w.mu.Unlock()
	if end {
		msg := nats.NewMsg(w.subject)
		msg.Header.Set(headerEnd, "1")
		if sent, err := w.js.PublishMsgAsync(msg); err != nil {
			w.log.Debug("end of the live log not sent", "subject", w.subject, "error", err)
		} else {
			last = sent
		}
	}
	if last == nil {
		return
	}
	select { // only for this writer's messages: there may be others
	case <-last.Ok():
	case err := <-last.Err():
		w.log.Debug("live log not stored to its end", "subject", w.subject, "error", err)
	case <-ctx.Done():
	}
}

// FollowLog passes the live log of a build from its beginning to write, until the end of the log, write fails or ctx
// ends. Unless follow is set, it stops at what there is now.
func FollowLog(ctx context.Context, js jetstream.JetStream, build string, follow bool, write func([]byte) error) error {
	if !follow {
		if err := readLog(ctx, js, logSubject(build), write); err != nil && ctx.Err() == nil {
			return fmt.Errorf("live log of build %s: %w", build, err)
		}
		return nil
	}
	config := jetstream.ConsumerConfig{FilterSubject: logSubject(build)}
	begun := false
	err := retry.Policy{First: readPause}.Do(ctx, func() error {
		err := read(ctx, js, StreamLogs, config, func(uint64) { begun = true },
			func(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
				if msg.Headers().Get(headerEnd) != "" {
					return retry.Permanent(errLogEnd)
				}
				if err := write(msg.Data()); err != nil {
					return retry.Permanent(err)
				}
				config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
				config.OptStartSeq = meta.Sequence.Stream + 1
				return nil
			})
		if !begun {
			return retry.Permanent(fmt.Errorf("live log of build %s: %w", build, err))
		}
		return err
	})
	if ctx.Err() != nil || errors.Is(err, errLogEnd) {
		return nil
	}
	return err
}

// readLog passes on what there is. It asks for one message after the other: a consumer would stay for minutes, and a
// stream has a limited number of them.
func readLog(ctx context.Context, js jetstream.JetStream, subject string, write func([]byte) error) error {
	stream, err := js.Stream(ctx, StreamLogs)
	if err != nil {
		return err
	}
	last, err := stream.GetLastMsgForSubject(ctx, subject)
	for next := uint64(1); err == nil && next <= last.Sequence; {
		var msg *jetstream.RawStreamMsg
		msg, err = stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if err != nil || msg.Header.Get(headerEnd) != "" {
			break
		}
		if err = write(msg.Data); err == nil {
			next = msg.Sequence + 1
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	return err
}
