package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
)

// Publication is what one publication has changed for clients of a project's repositories for a target.
type Publication struct {
	Project      string                `json:"project"`
	Target       string                `json:"target"`
	Repositories []PublishedRepository `json:"repositories"`
	Published    time.Time             `json:"published"`
	// Refused are packages that finished builds have made, and that are in no repository.
	Refused []RefusedPackage `json:"refused,omitempty"`
	// HeldBack is why nothing of a push is published whose builds are published together.
	HeldBack []HeldBack `json:"held_back,omitempty"`
}

// PublishedRepository is the newest revision of a repository, and how it differs from the one before.
type PublishedRepository struct {
	Kind     string `json:"kind"` // empty, debuginfo or source
	Revision int64  `json:"revision"`
	URL      string `json:"url"` // of the revision, for ever the same content
	// Shown is the revision that clients see, if it is not the newest, and ShownURL where it is.
	Shown    int64  `json:"shown,omitempty"`
	ShownURL string `json:"shown_url,omitempty"`
	// Pinned are the revisions that are kept for ever.
	Pinned  []int64            `json:"pinned,omitempty"`
	Added   []PublishedPackage `json:"added"`
	Removed []PublishedPackage `json:"removed"`
	// Truncated: both lists are empty because the event would be larger than a message may be. What there is the
	// metadata below URL say.
	Truncated bool `json:"truncated,omitempty"`
}

// PublishedPackage is a package in a repository.
type PublishedPackage struct {
	NEVRA  string `json:"nevra"`
	Build  string `json:"build,omitempty"` // empty: not known since the state of the repository was lost
	SHA256 string `json:"sha256"`          // of the file with its signature
}

// RefusedPackage is a package that cannot be published.
type RefusedPackage struct {
	Build  string `json:"build"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// HeldBack is a build that keeps all packages of its push from being published.
type HeldBack struct {
	Push   string `json:"push"`
	Build  string `json:"build"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// typePublished is the type of PUBLISHED's events.
const typePublished = "repository.published"

// AttachPublisher connects as a publisher does. It waits for the streams, which a listener makes.
func AttachPublisher(ctx context.Context, a Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	return connect(ctx, a, log, func(ctx context.Context, js jetstream.JetStream) error {
		return findStreams(ctx, js, StreamEvents, StreamPublished, StreamPublishing)
	})
}

// Publications reads and writes what there is to know about publications.
type Publications struct{ js jetstream.JetStream }

// NewPublications uses PUBLISHED and PUBLISHING.
func NewPublications(js jetstream.JetStream) Publications { return Publications{js} }

func publishedSubject(project, target string) string {
	return "rpmflow.published." + Token(project) + "." + Token(target)
}

// Last is the newest publication of a target and its sequence; 0: there is none.
func (p Publications) Last(ctx context.Context, project, target string) (last Publication, seq uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	stream, err := p.js.Stream(ctx, StreamPublished)
	if err != nil {
		return last, 0, fmt.Errorf("stream %s: open: %w", StreamPublished, err)
	}
	msg, err := stream.GetLastMsgForSubject(ctx, publishedSubject(project, target))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return last, 0, nil
	}
	if err != nil {
		return last, 0, fmt.Errorf("read the last publication of %s/%s: %w", project, target, err)
	}
	_, err = decode(msg.Data, &last)
	return last, msg.Sequence, err
}

// Since passes the publications that were stored since a time to handle, oldest first, and returns after those that
// are there.
func (p Publications) Since(ctx context.Context, start time.Time, handle func(Publication) error) error {
	return readStored(ctx, p.js, StreamPublished, jetstream.ConsumerConfig{
		FilterSubject: patternPublished, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &start,
	}, func(msg jetstream.Msg) error {
		var pub Publication
		if _, err := decode(msg.Data(), &pub); err != nil {
			return fmt.Errorf("read %s: %w", StreamPublished, err)
		}
		return handle(pub)
	})
}

// Add stores a publication behind the one that is known to be the last. The error is ErrLost if there is another.
func (p Publications) Add(ctx context.Context, pub Publication, after uint64) error {
	words := []string{"event", typePublished, pub.Project, pub.Target, fmt.Sprint(after)}
	for _, r := range pub.Repositories {
		words = append(words, r.Kind, fmt.Sprint(r.Revision))
	}
	subject := publishedSubject(pub.Project, pub.Target)
	raw, err := encode(typePublished, rpmflow.DeriveID(words...), pub.Project, pub.Target, pub.Published, pub)
	if err != nil {
		return err
	}
	msg := nats.NewMsg(subject)
	msg.Header.Set("Content-Type", contentType)
	msg.Data = raw
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	_, err = p.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(StreamPublished),
		jetstream.WithExpectLastSequencePerSubject(after))
	err = publishError(err)
	if short, ok := pub.truncated(); ok && errors.Is(err, ErrTooLarge) {
		return p.Add(ctx, short, after)
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return nil
}

// truncated is a publication without its lists of packages; false: it has none.
func (p Publication) truncated() (Publication, bool) {
	had := false
	p.Repositories = slices.Clone(p.Repositories)
	for i, r := range p.Repositories {
		if len(r.Added)+len(r.Removed) > 0 {
			r.Added, r.Removed, r.Truncated, had = []PublishedPackage{}, []PublishedPackage{}, true, true
			p.Repositories[i] = r
		}
	}
	return p, had
}

// Finish is a finished build that a publisher has taken. As long as it is kept, no other publisher is given it.
type Finish struct {
	Build    rpmflow.Build
	Sequence uint64 // in EVENTS
	msg      jetstream.Msg
}

// Keep must be called more often than every PublisherWait.
func (f Finish) Keep() error { return f.msg.InProgress() }

// Done acknowledges it.
func (f Finish) Done(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	return f.msg.DoubleAck(ctx)
}

// Return gives it to the next publisher that asks after this time.
func (f Finish) Return(after time.Duration) error { return f.msg.NakWithDelay(after) }

// PublisherWait is how long a publisher may be silent before another is given what it has taken.
const PublisherWait = 20 * time.Second

// ForPublisher passes the finished builds that no publisher has acknowledged to take, from the first event on, until
// ctx ends. Publishers share one durable consumer.
func ForPublisher(ctx context.Context, js jetstream.JetStream, log *slog.Logger, take func(Finish)) error {
	cons, err := js.CreateOrUpdateConsumer(ctx, StreamEvents, jetstream.ConsumerConfig{
		Durable: consumerPublisher, Description: "finished builds for publishers", FilterSubject: SubjectFinished,
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy, AckWait: PublisherWait,
		MaxDeliver: -1, MaxAckPending: 4096,
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was stopped
		}
		return fmt.Errorf("consumer %s of %s: %w", consumerPublisher, StreamEvents, err)
	}
	return consume(ctx, cons, log, func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		var ev Event
		if err == nil {
			ev, err = Parse(msg.Data())
		}
		if err != nil {
			log.Error("a finished event cannot be read and is set aside", "subject", msg.Subject(), "error", err)
			settle(log, msg.Term)
			return
		}
		take(Finish{ev.Build, meta.Sequence.Stream, msg})
	})
}

// Unpublished passes the finished builds that no publisher may have acknowledged yet to handle, oldest first: those
// behind the last one up to which all are acknowledged. It returns after those that are there.
func Unpublished(ctx context.Context, js jetstream.JetStream, handle func(Event) error) error {
	floor := uint64(0)
	cons, err := js.Consumer(ctx, StreamEvents, consumerPublisher)
	switch {
	case err == nil:
		info := cons.CachedInfo()
		if info.NumPending == 0 && info.NumAckPending == 0 {
			return nil
		}
		floor = info.AckFloor.Stream
	case !errors.Is(err, jetstream.ErrConsumerNotFound): // there was no publisher yet
		return fmt.Errorf("consumer %s of %s: %w", consumerPublisher, StreamEvents, err)
	}
	return readStored(ctx, js, StreamEvents, jetstream.ConsumerConfig{
		FilterSubject: SubjectFinished, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: floor + 1,
	}, func(msg jetstream.Msg) error {
		ev, err := Parse(msg.Data())
		if err != nil {
			return nil //nolint:nilerr // publishers set it aside, too
		}
		return handle(ev)
	})
}
