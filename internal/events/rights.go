package events

import (
	"strings"

	"github.com/rpmflow/rpmflow"
)

// Rights are the subjects that a user of NATS may publish and subscribe to: those that its program needs, and no
// others.
type Rights struct {
	Publish, Subscribe []string
}

const (
	// consumerDispatcher is shared by all listeners, consumerPublisher by all publishers.
	consumerDispatcher, consumerPublisher = "dispatcher", "publisher"

	patternReceived  = "rpmflow.pushes.*.*." + string(TypeReceived)
	patternBuilds    = "rpmflow.builds.*.*"
	patternSchedules = "rpmflow.schedules.*"
	patternLogs      = "rpmflow.logs.*"
	patternWake      = "rpmflow.wake.*"
	patternCancel    = "rpmflow.cancel.*"
	patternBeats     = "rpmflow.beats.*"
	patternEvents    = "rpmflow.events.*.*.*.*"
	patternPublished = "rpmflow.published.*.*"
	// patternPublishing are the subjects of PUBLISHING: the last token says what a message is about.
	patternPublishing = "rpmflow.publishing.*.*.*"

	inboxDefault = "_INBOX.>" // of NATS' own libraries and tools
)

// RightsOf returns the rights of a program's role. Other roles have none here: admin may do everything in the account,
// and subscribers are in accounts of their own.
//
// The rights do not stop an attacker who has taken over a program: within an account a request of NATS can name any
// subject for its answer, so that messages that the program has written are stored under other subjects. Requests to
// JetStream cannot be made in that way.
func RightsOf(role rpmflow.Role) Rights {
	r := Rights{Subscribe: []string{inboxPrefix(role) + ".>"}}
	switch role {
	case rpmflow.RoleListener:
		r.publish(patternReceived, everyEvent(TypeQueued), patternBuilds, patternWake)
		// The listener finishes a queued build that is canceled, with a line for those who follow its log.
		r.publish(everyEvent(TypeCancelRequested), everyEvent(TypeFinished), patternCancel, patternLogs)
		for _, stream := range streams() {
			r.publish(api("STREAM.INFO", stream), api("STREAM.CREATE", stream), api("STREAM.UPDATE", stream))
		}
		r.publish(api("STREAM.MSG.GET", StreamPushes), api("STREAM.MSG.GET", StreamEvents),
			api("STREAM.MSG.GET", StreamLogs))
		r.consume(StreamPushes, consumerDispatcher, patternReceived)
		r.publish(ack(StreamPushes, consumerDispatcher))
		// The read model and live logs use consumers with random names, which expire. Subscribers' are durable.
		r.consume(StreamEvents, "*", "", SubjectFinished)
		r.consume(StreamLogs, "*", patternLogs)
		r.publish(api("CONSUMER.INFO", StreamEvents, "*"), api("CONSUMER.INFO", StreamPublished, "*"),
			api("CONSUMER.CREATE", StreamPublished, "*", patternPublished))
	case rpmflow.RoleBuilder:
		for _, t := range []Type{TypeQueued, TypeStarted, TypePhase, TypeFinished} {
			r.publish(everyEvent(t))
		}
		r.publish(patternBuilds, patternSchedules, patternWake, patternLogs, patternBeats)
		r.publish(api("STREAM.INFO", StreamBuilds), api("STREAM.INFO", StreamEvents), api("STREAM.INFO", StreamLogs))
		r.publish(api("STREAM.MSG.GET", StreamBuilds), api("STREAM.MSG.GET", StreamEvents))
		r.consume(StreamBuilds, "*", patternBuilds)
		r.publish(ack(StreamBuilds, "*"))
		// Queue.Follow uses a consumer with a random name, which expires.
		r.consume(StreamEvents, "*", patternEvents)
		r.Subscribe = append(r.Subscribe, patternWake, patternCancel, patternBeats)
	case rpmflow.RolePublisher:
		// A publisher writes of publications only. It can write no event of a build.
		r.publish(patternPublished, patternPublishing)
		for _, stream := range []string{StreamPublished, StreamPublishing} {
			r.publish(api("STREAM.INFO", stream), api("STREAM.MSG.GET", stream))
		}
		r.publish(api("STREAM.INFO", StreamEvents), api("STREAM.MSG.GET", StreamEvents))
		r.publish(api("STREAM.INFO", StreamPushes), api("STREAM.MSG.GET", StreamPushes)) // which builds a push has
		r.publish(api("CONSUMER.INFO", StreamEvents, consumerPublisher))
		r.consume(StreamEvents, "*", SubjectFinished)
		r.publish(ack(StreamEvents, consumerPublisher))
		// `rpmflow repo status` uses consumers with random names, which expire.
		r.consume(StreamPublished, "*", patternPublished)
	default:
		return Rights{}
	}
	return r
}

// SubscriberRights are the rights of a subscriber: to receive what is announced, and to use the durable consumers of
// its name.
func SubscriberRights(name string) Rights {
	return Rights{Publish: subscriberRequests(name), Subscribe: []string{SubjectFinished, subjectAnnounced,
		inboxDefault}}
}

// subscriberRequests are the requests about a subscriber's consumers of EVENTS and PUBLISHED: their state, their next
// message, and acknowledgements.
func subscriberRequests(name string) (requests []string) {
	consumer := SubscriberConsumer(name)
	for _, stream := range []string{StreamEvents, StreamPublished} {
		requests = append(requests, api("CONSUMER.INFO", stream, consumer), api("CONSUMER.MSG.NEXT", stream, consumer),
			ack(stream, consumer))
	}
	return requests
}

func (r *Rights) publish(subjects ...string) { r.Publish = append(r.Publish, subjects...) }

// consume adds the rights to make a pull consumer with one of the filters (empty: with none) and to fetch from it.
func (r *Rights) consume(stream, consumer string, filters ...string) {
	for _, filter := range filters {
		if filter == "" {
			r.publish(api("CONSUMER.CREATE", stream, consumer))
		} else {
			r.publish(api("CONSUMER.CREATE", stream, consumer, filter)) // the server checks that the filter is this one
		}
	}
	r.publish(api("CONSUMER.MSG.NEXT", stream, consumer))
}

func api(request string, names ...string) string {
	return "$JS.API." + request + "." + strings.Join(names, ".")
}

func ack(stream, consumer string) string { return "$JS.ACK." + stream + "." + consumer + ".>" }

func everyEvent(t Type) string { return "rpmflow.events.*.*.*." + string(t) }

// inboxPrefix is the subject for answers to a role's requests, which other roles cannot read.
func inboxPrefix(role rpmflow.Role) string { return "_INBOX_" + string(role) }
