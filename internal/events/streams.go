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
	// Subscribers are the names for which durable consumers of finished events and of publications are kept, since
	// subscribers may make none.
	Subscribers []string
}

// dedupWindow is how long JetStream drops a second message with the same id. A later one is recognised by reading
// EVENTS.
const dedupWindow = 10 * time.Minute

// streamWait bounds making one stream: a cluster without a leader does not answer at all.
const streamWait = 2 * publishWait

// EnsureStreams creates the streams, and the consumers of subscribers, or brings them up to date. Any number of
// listeners may call it at once.
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
			// Without AllowDirect every read is answered by the stream's leader: after a claim that was refused, the
			// answer of a replica that lags behind would be wrong.
			Name: StreamEvents, Subjects: []string{patternEvents},
			Description: "all that happened to every build: the one stream of truth",
			Discard:     jetstream.DiscardNew, MaxBytes: limit, Duplicates: dedupWindow,
			MaxConsumers: 100_000,
			// On the events' own subjects every attempt to publish is seen, also one that is refused. This repeats what
			// is stored.
			RePublish: &jetstream.RePublish{
				Source:      SubjectFinished,
				Destination: "rpmflow.finished.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}",
			},
		},
		{
			Name: StreamLogs, Subjects: []string{"rpmflow.logs.*"},
			Description: "logs of running builds, for watching; the stored ones are in S3",
			MaxAge:      24 * time.Hour, MaxBytes: limit, Discard: jetstream.DiscardOld,
			MaxConsumers: 10_000, // by default 1,000; each who follows a log has one, and takes 90 KB of memory
		},
		{
			Name: StreamPublished, Subjects: []string{patternPublished}, Description: "revisions of dnf repositories",
			MaxBytes: limit, Discard: jetstream.DiscardOld, Duplicates: dedupWindow,
		},
		{
			Name: StreamPublishing, Subjects: []string{patternPublishing},
			Description:       "what publishers do now: their last failures, and who writes where one at a time may",
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardOld, AllowMsgTTL: true,
		},
	}
	for _, c := range configs {
		c.Storage, c.Replicas = jetstream.FileStorage, replicas
		sctx, cancel := context.WithTimeout(ctx, streamWait)
		_, err := js.CreateOrUpdateStream(sctx, c)
		cancel()
		if err != nil {
			return fmt.Errorf("stream %s: create or update: %w", c.Name, s.explain(err))
		}
	}
	for _, name := range s.Subscribers {
		if _, err := subscriberConsumer(ctx, js, Subscription{Durable: name}); err != nil {
			return err
		}
		if err := publicationsConsumer(ctx, js, name); err != nil {
			return err
		}
	}
	return nil
}

// explain adds what to do when a stream cannot be made or updated.
func (s StreamSettings) explain(err error) error {
	const (
		noPeers              = 10005 // the cluster has not as many servers, or not as many with room
		unavailable          = 10008
		insufficient         = 10023
		replicasNotSupported = 10074 // not a cluster
	)
	var answer *jetstream.APIError
	if err := publishError(err); errors.Is(err, ErrFull) {
		return fmt.Errorf("the server cannot reserve %d bytes of storage for it: "+
			"free disk space, or lower nats.max_bytes (%w)", s.MaxBytes, err)
	}
	switch {
	case !errors.As(err, &answer):
	case answer.ErrorCode == unavailable:
		return fmt.Errorf("the NATS cluster has no leader now: more than half of its servers must run, "+
			"and all of them when it starts for the first time (%w)", err)
	case s.Replicas > 1:
		switch answer.ErrorCode {
		case replicasNotSupported:
			return fmt.Errorf("nats.replicas is %d, but this NATS server is in no cluster: "+
				"set nats.replicas to 1, or run a cluster of %d (%w)", s.Replicas, s.Replicas, err)
		case noPeers, insufficient:
			return fmt.Errorf("nats.replicas is %d, but the cluster has fewer servers with JetStream "+
				"and %d bytes of free storage: start those that are missing, free disk space, or lower nats.replicas "+
				"(%w)",
				s.Replicas, s.MaxBytes, err)
		}
	}
	return fmt.Errorf("%w (has the server JetStream, and may the user create and update streams? "+
		"only listener and admin may)", err)
}

// streams are those that a listener makes.
func streams() []string {
	return []string{StreamPushes, StreamBuilds, StreamEvents, StreamLogs, StreamPublished, StreamPublishing}
}

// findStreams looks for streams that a program uses and does not make.
func findStreams(ctx context.Context, js jetstream.JetStream, names ...string) error {
	for _, name := range names {
		if _, err := js.Stream(ctx, name); err != nil {
			return fmt.Errorf("stream %s: open: %w", name, err)
		}
	}
	return nil
}

// ErrFull means that a stream takes no more messages. Nothing was lost, and nothing was stored.
var ErrFull = errors.New("the stream is full: an operator must raise nats.max_bytes or purge finished builds")

// ErrLost means that another program has written first: the caller does not own the build.
var ErrLost = errors.New("another writer was first")

// ErrTooLarge means that a record does not fit into one message.
var ErrTooLarge = errors.New("the record is larger than a message may be: raise max_payload of the NATS servers")

// publishError turns JetStream's answer to a publish into ErrFull, ErrLost or ErrTooLarge if it is one.
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
