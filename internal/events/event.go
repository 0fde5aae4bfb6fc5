package events

import (
	"encoding/json"
	"fmt"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/rpmflow/rpmflow"
)

// Type is the last token of an event's subject.
type Type string

// The types of events of a build, in the order in which they can happen.
const (
	TypeQueued          Type = "queued"
	TypeStarted         Type = "started"
	TypePhase           Type = "phase"
	TypeCancelRequested Type = "cancel-requested" // the attempt runs until its owner has read it
	TypeFinished        Type = "finished"         // the last event of a build, for ever
)

// TypeReceived is the event of a push.
const TypeReceived Type = "received"

// Event is one entry of EVENTS: what happened and the whole record of the build after it.
type Event struct {
	ID       string
	Type     Type
	Time     time.Time
	Sequence uint64 // in EVENTS
	Build    rpmflow.Build
	Raw      []byte // the CloudEvent as it is stored
}

// contentType of structured mode.
const contentType = "application/cloudevents+json; charset=utf-8"

func encode(kind, id, project, subject string, at time.Time, data any) ([]byte, error) {
	e := cloudevents.New(cloudevents.CloudEventsVersionV1)
	e.SetID(id)
	e.SetType("dev.rpmflow." + kind + ".v1")
	e.SetSource("/rpmflow/projects/" + Token(project))
	e.SetSubject(subject)
	e.SetTime(at.UTC())
	raw, err := rpmflow.EncodeJSON(data, "")
	if err != nil {
		return nil, fmt.Errorf("encode %s event of %s: %w", kind, subject, err)
	}
	e.SetDataContentType(cloudevents.ApplicationJSON)
	e.DataEncoded = raw
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("encode %s event of %s: %w", kind, subject, err)
	}
	return rpmflow.EncodeJSON(e, "")
}

func decode(raw []byte, data any) (cloudevents.Event, error) {
	var e cloudevents.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, fmt.Errorf("decode CloudEvent: %w", err)
	}
	if err := e.DataAs(data); err != nil {
		return e, fmt.Errorf("decode data of event %s: %w", e.ID(), err)
	}
	return e, nil
}

// Parse reads a build's event as it is in EVENTS.
func Parse(raw []byte) (Event, error) {
	ev := Event{Raw: raw}
	e, err := decode(raw, &ev.Build)
	if err != nil {
		return Event{}, err
	}
	var kind string
	_, err = fmt.Sscanf(e.Type(), "dev.rpmflow.build.%s", &kind)
	if err != nil || len(kind) < 4 || kind[len(kind)-3:] != ".v1" {
		return Event{}, fmt.Errorf("event %s has type %q, which is not one of a build", e.ID(), e.Type())
	}
	ev.ID, ev.Type, ev.Time = e.ID(), Type(kind[:len(kind)-3]), e.Time()
	return ev, nil
}
