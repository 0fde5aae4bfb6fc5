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

// headerQueue tells of every event what deciding who is next takes: those who count read no records.
const headerQueue = "Rpmflow-Queue"

// queueHeader is what headerQueue says of a build.
type queueHeader struct {
	arch     string
	message  uint64 // in BUILDS, of the build's last attempt; 0: it has had none
	failures int    // of the infrastructure: a retry has one more than what it repeats
	limit    int    // of the project, when the build was asked for
}

func (h queueHeader) String() string {
	return url.Values{
		"arch": {h.arch}, "message": {strconv.FormatUint(h.message, 10)}, "failures": {strconv.Itoa(h.failures)}, "limit": {strconv.Itoa(h.limit)},
	}.Encode()
}

func queueHeaderOf(b rpmflow.Build) queueHeader {
	return queueHeader{b.Arch, b.QueueSequence, b.InfrastructureFailures, b.Concurrency}
}

// parseQueueHeader gives what is readable of a header; without an architecture the event cannot be counted.
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

// standings is how the builds of all projects stand, as EVENTS and the heartbeats of their owners say: which wait and in which order, which
// run, which were handed back, and whose owner fell silent. It decides only who is asked first: what it has missed costs a question in vain.
type standings struct {
	mu       sync.Mutex
	ackWait  time.Duration
	held     map[string]*holding // builds that run or were handed back, by id
	messages map[uint64]string   // of those, by the message that they hold
	waiting  map[string]uint64   // builds that wait: the event that says so
	lines    map[string][]inLine // by subject of BUILDS, in order; builds that wait no more are still in it until they are first
	limits   map[string]int      // by subject
	noted    map[string]uint64   // events of this program that are known before they have come
	last     uint64              // the event that was taken in last
	since    time.Time           // from when on heartbeats are heard without a gap
	connects uint64              // how often the connection was made again until then
}

// holding is a build that holds a message of BUILDS, or has given it back.
type holding struct {
	queueHeader
	subject  string
	event    uint64
	returned bool      // handed back: the message waits for anybody
	heard    time.Time // of its owner
	sure     bool      // heard in our own time, not known from the past
	ask      time.Time // not to be asked for before
}

type inLine struct {
	event uint64
	id    string
}

func newStandings(ackWait time.Duration) *standings {
	s := &standings{ackWait: ackWait}
	s.reset()
	return s
}

func (s *standings) reset() {
	s.held, s.messages, s.waiting, s.lines = map[string]*holding{}, map[uint64]string{}, map[string]uint64{}, map[string][]inLine{}
	s.limits, s.noted, s.last = map[string]int{}, map[string]uint64{}, 0
}

// listening says that from now on heartbeats are heard: those who fell silent before may not have.
func (s *standings) listening(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = now
}

// beat takes in that the owner of a message lives.
func (s *standings) beat(message uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[s.messages[message]]; h != nil {
		h.heard, h.sure = now, true
	}
}

// occurrence is an event as its subject and its header tell it.
type occurrence struct {
	queueHeader
	id, project string // the project as it stands in subjects
	kind        Type
	event       uint64
}

func occurrenceOf(subject string, h queueHeader, event uint64) (occurrence, bool) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 6 {
		return occurrence{}, false
	}
	return occurrence{h, tokens[4], tokens[2], Type(tokens[5]), event}, true
}

// queue is the subject of BUILDS that the build's messages have.
func (o occurrence) queue() string { return "rpmflow.builds." + Token(o.arch) + "." + o.project }

// note takes in an event that this program has published, before it comes back.
func (s *standings) note(o occurrence, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.event > s.last { // else it has come back already
		s.noted[o.id] = o.event
		s.apply(o, now, true)
	}
}

// take takes in an event from the stream; past says that it is from before we listened.
func (s *standings) take(o occurrence, now time.Time, past bool) {
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

func (s *standings) apply(o occurrence, now time.Time, sure bool) {
	held := s.held[o.id]
	switch o.kind {
	case TypeFinished:
		s.drop(o.id)
		delete(s.waiting, o.id)
	case TypeQueued:
		if _, waits := s.waiting[o.id]; o.message == 0 && o.limit > 0 && !waits { // a new request, with the project's present settings
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
			s.held[o.id] = &holding{queueHeader: o.queueHeader, subject: o.queue(), event: o.event, heard: now, sure: sure}
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

// line puts a build behind the others of its project.
func (s *standings) line(subject, id string, event uint64) {
	s.waiting[id] = event
	s.lines[subject] = append(s.lines[subject], inLine{event, id})
}

// oldest gives the event of the build that has waited the longest; 0: none is known.
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

// standing is that of one project and architecture.
type standing struct {
	running  int      // attempts with an owner that lives, as far as is known
	orphaned int      // attempts with an owner that fell silent
	doubtful int      // of those that run: not heard of yet since this program began
	due      []string // builds that were handed back or orphaned, and are to be asked for first
	first    uint64   // the event of the oldest of these
	limit    int      // 0: not known
	oldest   uint64   // see there
}

// of gives the standings of all subjects that have messages; reconnects is how often the connection was made again.
func (s *standings) of(messages map[string]uint64, reconnects uint64, now time.Time) map[string]*standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connects != reconnects { // what was said meanwhile was not heard
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
		silent := now.Sub(s.latest(h)) >= s.ackWait
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

// latest is when the owner was heard last; where we could not hear it, it may have been well.
func (s *standings) latest(h *holding) time.Time {
	if h.heard.Before(s.since) {
		return s.since
	}
	return h.heard
}

// returned reports whether one of the builds still is one that was handed back.
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

// asked takes in what was handed out (0: nothing) when builds that were handed back or orphaned were asked for: those that it was not are not
// asked for first again for a while, so that a message that is gone for good gives its project no advantage.
func (s *standings) asked(due []string, got uint64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range due {
		h := s.held[id]
		switch {
		case h == nil || h.message == got:
		case h.returned: // taken by another, or in line like any other
			s.drop(id)
			s.line(h.subject, id, h.event)
		case got == 0: // the server's clock is a little behind
			h.ask = now.Add(min(time.Second, s.ackWait/3))
		default:
			h.ask = now.Add(s.ackWait)
		}
	}
}
