package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
)

// Postpone puts a copy of the delivery's message behind the others of its project, to be delivered at the given time or
// later, and then removes the delivered one. A message that is released instead is delivered first again, which blocks
// others of its project. If the program dies in between, the old message is delivered again, and a second copy of it is
// recognised by its id.
func (q *Queue) Postpone(ctx context.Context, d *Message, until time.Time) error {
	data, err := json.Marshal(d.Build)
	if err != nil {
		return fmt.Errorf("encode build %s: %w", d.Build.ID, err)
	}
	until = until.Add(time.Second - 1).Truncate(time.Second) // schedules are in whole seconds
	pctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	_, err = q.js.Publish(pctx, "rpmflow.schedules."+Token(d.Build.ID), data,
		jetstream.WithMsgID(fmt.Sprintf("%s.%d.%d", d.Build.ID, d.Build.InfrastructureFailures, d.Sequence)),
		jetstream.WithExpectStream(StreamBuilds), jetstream.WithScheduleAt(until),
		jetstream.WithScheduleTarget(buildSubject(d.Build.Arch, d.Build.Project)))
	if err != nil {
		return fmt.Errorf("postpone build %s: %w", d.Build.ID, publishError(err))
	}
	return d.Done(ctx)
}

// Queued is a build message in the queue, whether it is held by a builder or not.
type Queued struct {
	Build    rpmflow.Build
	Sequence uint64
	At       time.Time // when it came into the queue
}

// After returns the first message of an architecture behind a sequence, without taking it; nil if there is none.
func (q *Queue) After(ctx context.Context, arch string, sequence uint64) (*Queued, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	msg, err := q.stream.GetMsg(ctx, sequence+1, jetstream.WithGetMsgSubject("rpmflow.builds."+Token(arch)+".*"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for builds that wait: %w", err)
	}
	m := &Queued{Sequence: msg.Sequence, At: msg.Time}
	if err := json.Unmarshal(msg.Data, &m.Build); err != nil {
		m.Build = rpmflow.Build{} // the builder that takes it logs and drops it
	}
	return m, nil
}
