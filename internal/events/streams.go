package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// StreamSettings is what an operator decides about the streams.
type StreamSettings struct {
	Replicas int   // 1 or 3
	MaxBytes int64 // of PUSHES, EVENTS and LOGS each, reserved by the server; 0: as much as there is
}

// dedupWindow is for how long JetStream itself drops a second message with the same id. It is only the first line:
// what comes later is recognised by reading EVENTS.
const dedupWindow = 10 * time.Minute

// EnsureStreams creates the streams or brings them up to date. Any number of programs may call it at once.
func EnsureStreams(ctx context.Context, js jetstream.JetStream, s StreamSettings) error {
	replicas := max(s.Replicas, 1)
	limit := s.MaxBytes
	if limit == 0 {
		limit = -1
	}
	configs := []jetstream.StreamConfig{
		{
			Name: StreamPushes, Subjects: []string{"rpmflow.pushes.*.*.*"},
			Description: "pushes as they were received, with the answer that was given",
			Discard:     jetstream.DiscardNew, MaxBytes: limit, Duplicates: dedupWindow,
		},
		{
			Name: StreamBuilds, Subjects: []string{"rpmflow.builds.*.*", "rpmflow.schedules.*"},
			Description: "builds to be done, and those to be done later",
			Retention:   jetstream.WorkQueuePolicy, Duplicates: dedupWindow,
			AllowMsgSchedules: true, // the reason why it cannot have DiscardNew
			MaxConsumers:      100_000,
		},
		{
			// Without AllowDirect every read is answered by the stream's leader: a claim that was refused must not be
			// judged by what a replica that lags behind remembers.
			Name: StreamEvents, Subjects: []string{"rpmflow.events.*.*.*.*"},
			Description: "all that happened to every build: the one stream of truth",
			Discard:     jetstream.DiscardNew, MaxBytes: limit, Duplicates: dedupWindow,
			MaxConsumers: 100_000,
		},
		{
			Name: StreamLogs, Subjects: []string{"rpmflow.logs.*"},
			Description: "logs of running builds, for watching; the stored ones are in S3",
			MaxAge:      24 * time.Hour, MaxBytes: limit, Discard: jetstream.DiscardOld,
		},
	}
	for _, c := range configs {
		c.Storage, c.Replicas = jetstream.FileStorage, replicas
		if _, err := js.CreateOrUpdateStream(ctx, c); err != nil {
			if err := publishError(err); errors.Is(err, ErrFull) {
				return fmt.Errorf("stream %s: create or update: the server has not %d bytes of storage left to reserve for it: free disk space, or lower nats.max_bytes (%w)", c.Name, s.MaxBytes, err)
			}
			return fmt.Errorf("stream %s: create or update: %w (does the user have rights to the JetStream API, and has the server %d node(s) with JetStream and enough storage?)", c.Name, err, replicas)
		}
	}
	return nil
}

// ErrFull says that a stream takes no more: nothing was lost, and nothing was taken.
var ErrFull = errors.New("the stream is full: an operator has to raise nats.max_bytes or to purge what is finished")

// ErrLost says that somebody else wrote first: the caller does not own the build (any more).
var ErrLost = errors.New("another writer was first")

// ErrTooLarge says that a record does not fit into one message.
var ErrTooLarge = errors.New("the record is larger than a message may be: raise max_payload of the NATS servers")

// publishError sorts what JetStream answered to a publish.
func publishError(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return ErrTooLarge
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return err
	}
	const (
		streamStoreFailed  = 10077 // "maximum bytes exceeded" and the like of DiscardNew
		insufficientSpace  = 10047
		wrongLastSequence  = 10071
		wrongLastConstant  = 10164
		maxBytesPerMessage = 10054
	)
	switch api.ErrorCode {
	case wrongLastSequence, wrongLastConstant:
		return fmt.Errorf("%w (%s)", ErrLost, api.Description)
	case streamStoreFailed, insufficientSpace:
		return fmt.Errorf("%w (%s)", ErrFull, api.Description)
	case maxBytesPerMessage:
		return fmt.Errorf("%w (%s)", ErrTooLarge, api.Description)
	}
	return err
}
