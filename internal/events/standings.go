package events

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rpmflow/rpmflow"
)

// headerQueue is a header of every event. It has what Take needs of a build, so that Follow reads no records.
const headerQueue = "Rpmflow-Queue"

// queueHeader is the content of headerQueue.
type queueHeader struct {
	arch     string
	message  uint64 // in BUILDS, of the build's last attempt; 0: it has had none
	failures int    // of the infrastructure: a retry has one more than what it repeats
	limit    int    // of the project, when the build was asked for
}

func (h queueHeader) String() string {
	return url.Values{
		"arch": {h.arch}, "message": {strconv.FormatUint(h.message, 10)}, "failures": {strconv.Itoa(h.failures)},
		"limit": {strconv.Itoa(h.limit)},
	}.Encode()
}

func queueHeaderOf(b rpmflow.Build) queueHeader {
	return queueHeader{b.Arch, b.QueueSequence, b.InfrastructureFailures, b.Concurrency}
}

// parseQueueHeader reads as much of a header as it can. Without an architecture the event cannot be counted.
func parseQueueHeader(header nats.Header) queueHeader {
	values, err := url.ParseQuery(header.Get(headerQueue))
	if err != nil {
		return queueHeader{}
	}
	h := queueHeader{arch: values.Get("arch")}
	h.message, _ = strconv.ParseUint(values.Get("message"), 10, 64) // what is not a number counts as 0
	h.failures, _ = strconv.Atoi(values.Get("failures"))
	h.limit, _ = strconv.Atoi(values.Get("limit"))
	return h
}

// standings is the state of the builds of all projects, from EVENTS and the heartbeats of owners: which wait and in
// which order, which run, which were handed back, and which have lost their owner. It only decides which project is
// asked first: an error in it costs a request that returns nothing.
type standings struct {
	mu       sync.Mutex
	ackWait  time.Duration
	held     map[string]*heldBuild // builds that run or were handed back, by id
	messages map[uint64]string     // of those, by the message that they hold
	waiting  map[string]uint64     // builds that wait: the event that says so
	// by subject of BUILDS, in order; one that waits no longer stays until it is first
	lines    map[string][]waitingBuild
	limits   map[string]int    // by subject
	noted    map[string]uint64 // events that this program has published and not read back yet
	last     uint64            // the event that was read last
	since    time.Time         // since when heartbeats are received without a gap
	connects uint64            // the number of reconnects at that time
}

// heldBuild is a build that holds a message of BUILDS, or has given it back.
type heldBuild struct {
	queueHeader
	subject  string
	event    uint64
	returned bool      // handed back: the message waits for any builder
	beat     time.Time // when the owner has sent its last heartbeat
	sure     bool      // a heartbeat or an event was received since this program has started
	ask      time.Time // not to be asked for before
}

// waitingBuild is a build in a line, with the event that says that it waits.
type waitingBuild struct {
	event uint64
	id    string
}

func newStandings(ackWait time.Duration) *standings {
	s := &standings{ackWait: ackWait}
	s.reset()
	return s
}

func (s *standings) reset() {
	s.held, s.messages = map[string]*heldBuild{}, map[uint64]string{}
	s.waiting, s.lines = map[string]uint64{}, map[string][]waitingBuild{}
	s.limits, s.noted, s.last = map[string]int{}, map[string]uint64{}, 0
}

// listening says that heartbeats are received from now on: none before now count as missing.
func (s *standings) listening(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = now
}

// beat adds a heartbeat of the owner of a message.
func (s *standings) beat(message uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[s.messages[message]]; h != nil {
		h.beat, h.sure = now, true
	}
}

// buildEvent is what subject and header say about an event.
type buildEvent struct {
	queueHeader
	id, project string // the project as it stands in subjects
	kind        Type
	event       uint64
}

func buildEventOf(subject string, h queueHeader, event uint64) (buildEvent, bool) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 6 {
		return buildEvent{}, false
	}
	return buildEvent{h, tokens[4], tokens[2], Type(tokens[5]), event}, true
}

// queue is the subject of the build's messages in BUILDS.
func (o buildEvent) queue() string { return "rpmflow.builds." + Token(o.arch) + "." + o.project }

// note adds an event that this program has published, before it is read back.
func (s *standings) note(o buildEvent, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.event > s.last { // else it was read back already
		s.noted[o.id] = o.event
		s.apply(o, now, true)
	}
}

// take adds an event from the stream; past says that it was published before Follow started.
func (s *standings) take(o buildEvent, now time.Time, past bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = o.event
	noted, ok := s.noted[o.id]
	if ok && o.event >= noted {
		delete(s.noted, o.id)
	}
	if !ok || o.event > noted {
		s.apply(o, now, !past)
	}
}

func (s *standings) apply(o buildEvent, now time.Time, sure bool) {
	held := s.held[o.id]
	switch o.kind {
	case TypeFinished:
		s.drop(o.id)
		delete(s.waiting, o.id)
	case TypeQueued:
		_, waits := s.waiting[o.id]
		if o.message == 0 && o.limit > 0 && !waits { // a new request, with the project's present settings
			s.limits[o.queue()] = o.limit
		}
		if held != nil && held.failures == o.failures && held.message == o.message {
			held.returned, held.event, held.ask = true, o.event, time.Time{}
			return
		}
		s.drop(o.id)
		if o.arch != "" {
			s.line(o.queue(), o.id, o.event)
		}
	case TypeStarted, TypePhase, TypeCancelRequested:
		delete(s.waiting, o.id)
		s.drop(o.id)
		if o.arch != "" && o.message != 0 {
			s.held[o.id] = &heldBuild{queueHeader: o.queueHeader, subject: o.queue(), event: o.event, beat: now,
				sure: sure}
			s.messages[o.message] = o.id
		}
	}
}

func (s *standings) drop(id string) {
	if h := s.held[id]; h != nil {
		delete(s.messages, h.message)
		delete(s.held, id)
	}
}

// line adds a build behind the others of its project.
func (s *standings) line(subject, id string, event uint64) {
	s.waiting[id] = event
	s.lines[subject] = append(s.lines[subject], waitingBuild{event, id})
}

// oldest returns the event of the build that has waited the longest; 0 if there is none.
func (s *standings) oldest(subject string) uint64 {
	line := s.lines[subject]
	for len(line) > 0 && s.waiting[line[0].id] != line[0].event {
		line = line[1:]
	}
	if s.lines[subject] = line; len(line) == 0 {
		delete(s.lines, subject)
		return 0
	}
	return line[0].event
}

// standing is the state of one project and architecture.
type standing struct {
	running  int      // attempts whose owner is alive, as far as is known
	orphaned int      // attempts whose owner sends no heartbeats
	doubtful int      // of those that run: no heartbeat since this program has started
	due      []string // builds that were handed back or orphaned, and are asked for first
	first    uint64   // the event of the oldest of these
	limit    int      // 0: not known
	oldest   uint64   // see there
}

// of returns the state of all subjects that have messages; reconnects is the number of reconnects until now.
func (s *standings) of(messages map[string]uint64, reconnects uint64, now time.Time) map[string]*standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connects != reconnects { // heartbeats were missed
		s.connects, s.since = reconnects, now
	}
	all := make(map[string]*standing, len(messages))
	for subject := range messages {
		all[subject] = &standing{limit: s.limits[subject], oldest: s.oldest(subject)}
	}
	for id, h := range s.held {
		st := all[h.subject]
		if st == nil {
			continue
		}
		silent := now.Sub(s.lastBeat(h)) >= s.ackWait
		switch {
		case h.returned:
		case silent:
			st.orphaned++
		default:
			st.running++
			if !h.sure {
				st.doubtful++
			}
		}
		if (h.returned || silent) && now.After(h.ask) {
			if st.due = append(st.due, id); st.first == 0 || h.event < st.first {
				st.first = h.event
			}
		}
	}
	return all
}

// lastBeat is the time of the owner's last heartbeat. Before s.since heartbeats may have been missed.
func (s *standings) lastBeat(h *heldBuild) time.Time {
	if h.beat.Before(s.since) {
		return s.since
	}
	return h.beat
}

// returned reports whether one of the builds is still handed back.
func (s *standings) returned(due []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(due, func(id string) bool { return s.held[id] != nil && s.held[id].returned })
}

// due reports whether one of the builds holds a message.
func (s *standings) due(due []string, message uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(due, s.messages[message])
}

// asked adds which message was delivered (0: none) when builds that were handed back or orphaned were asked for. The
// others are not asked for first again for a while, so that a message that is lost gives its project no advantage.
func (s *standings) asked(due []string, got uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range due {
		h := s.held[id]
		switch {
		case h == nil || h.message == got:
		case h.returned: // taken by another builder, or it waits like any other
			s.drop(id)
			s.line(h.subject, id, h.event)
		case got == 0: // the server's clock may be a little behind
			h.ask = now.Add(min(time.Second, s.ackWait/3))
		default:
			h.ask = now.Add(s.ackWait)
		}
	}
}
