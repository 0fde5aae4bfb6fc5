package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
)

const (
	minMajor, minMinor = 2, 12   // of the server: messages that are sent later
	minPayload         = 1 << 20 // a record with all its artifacts has to fit into one message
	almostFull         = 80      // percent
)

// nats looks at the server, the streams, and what the user may not do.
func (e *examination) nats(ctx context.Context, cfg *config.Config) {
	const name = "NATS"
	access := assembly.NATSAccess(cfg, "rpmflow doctor")
	access.Role = rpmflow.Role(e.program)
	nc, js, err := events.Dial(access, slog.New(slog.DiscardHandler))
	if err != nil {
		e.fault(name, Failed, err)
		e.skip("streams", "NATS cannot be asked")
		return
	}
	defer nc.Close()
	how := "without TLS"
	if _, err := nc.TLSConnectionState(); err == nil {
		how = "with TLS"
	}
	version := nc.ConnectedServerVersion()
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major < minMajor || major == minMajor && minor < minMinor {
		e.add(name, Failed, fmt.Sprintf("%s runs version %s", nc.ConnectedUrlRedacted(), version), fmt.Sprintf("install NATS %d.%d or later", minMajor, minMinor))
	} else {
		e.ok(name, "%s, server %s, version %s, %s", nc.ConnectedUrlRedacted(), nc.ConnectedServerName(), version, how)
	}
	if most := nc.MaxPayload(); most < minPayload {
		e.add(name, Warning, fmt.Sprintf("a message may have %s at most, and the record of a build with many packages has more", config.Size(most)), "raise max_payload of the servers to 1 MiB")
	}
	e.streams(ctx, cfg, access, nc, js)
	e.rights(ctx, nc, access)
}

// streams looks at those that the program uses.
func (e *examination) streams(ctx context.Context, cfg *config.Config, access events.Access, nc *nats.Conn, js jetstream.JetStream) {
	names := []string{events.StreamPushes, events.StreamBuilds, events.StreamEvents, events.StreamLogs}
	if e.program == config.ForBuilder {
		names = names[1:]
	}
	read := false
	for _, stream := range names {
		name := "stream " + stream
		if err := allowed(ctx, nc, nats.NewMsg("$JS.API.STREAM.INFO."+stream)); err != nil { // a request that is refused is never answered
			e.fault(name, Failed, access.Denied(err))
			continue
		}
		asked := time.Now()
		sctx, cancel := context.WithTimeout(ctx, oneLimit/2)
		s, err := js.Stream(sctx, stream)
		cancel()
		if err != nil {
			if !e.noStream(name, nc, access, err) {
				return // the others would say the same
			}
			continue
		}
		info := s.CachedInfo()
		if !read && !info.TimeStamp.IsZero() {
			read = true
			e.clock("NATS", info.TimeStamp, asked)
		}
		e.stream(name, cfg, info)
	}
}

// noStream says why a stream cannot be looked at, and whether others may be.
func (e *examination) noStream(name string, nc *nats.Conn, access events.Access, err error) (goOn bool) {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		state, do := Warning, "start a listener: it makes the streams"
		if e.program == config.ForBuilder {
			state = Failed
		}
		e.add(name, state, "is not there", do)
		return true
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, nats.ErrNoResponders):
		e.fault("JetStream", Failed, rpmflow.Advise(fmt.Errorf("is not there: %w", err),
			"switch it on for the servers (jetstream {}) and for the user's account; a cluster needs more than half of its servers"))
		return false
	}
	if denied := nc.LastError(); errors.Is(denied, nats.ErrPermissionViolation) {
		e.fault(name, Failed, access.Denied(denied))
		return false
	}
	e.fault(name, Failed, rpmflow.Advise(err, "look into the log of the NATS servers"))
	return false
}

func (e *examination) stream(name string, cfg *config.Config, info *jetstream.StreamInfo) {
	found := fmt.Sprintf("%d messages, %d MiB", info.State.Msgs, info.State.Bytes>>20)
	full := uint64(0)
	if info.Config.MaxBytes > 0 {
		full = info.State.Bytes * 100 / uint64(info.Config.MaxBytes)
		found += fmt.Sprintf(" of %d MiB (%d %%)", info.Config.MaxBytes>>20, full)
	}
	found += fmt.Sprintf(", replicas: %d", max(info.Config.Replicas, 1))
	state, do := OK, ""
	if want := cfg.NATS.Replicas; e.program != config.ForBuilder && info.Config.Replicas != want {
		state, do = Warning, fmt.Sprintf("nats.replicas is %d: restart a listener, which brings the streams up to date", want)
	}
	if full >= almostFull && info.Config.Discard == jetstream.DiscardNew {
		state, do = Warning, "raise nats.max_bytes and restart a listener, or purge what is finished: nothing more is taken when it is full"
	}
	if c := info.Cluster; c != nil && info.Config.Replicas > 1 {
		for _, peer := range c.Replicas {
			if peer.Offline || !peer.Current {
				found += fmt.Sprintf(", server %s is away or behind", peer.Name)
				state, do = Warning, "look at that server: with one more missing nothing is taken"
			}
		}
		if c.Leader == "" {
			found += ", no leader"
			state, do = Failed, "start more of its servers: more than half of them are needed"
		}
	}
	e.add(name, state, found, do)
}

// rights tries what the program publishes. Each message has a condition that no stream meets, so none is stored; outcomes, to which
// others listen outside of streams, are not tried.
func (e *examination) rights(ctx context.Context, nc *nats.Conn, access events.Access) {
	const name = "NATS rights"
	if e.program == "" {
		return // a person's user: it reads
	}
	var subjects []string
	for _, pattern := range events.RightsOf(access.Role).Publish {
		if strings.HasPrefix(pattern, "rpmflow.") && !strings.HasSuffix(pattern, "."+string(events.TypeFinished)) {
			subjects = append(subjects, strings.ReplaceAll(pattern, "*", "doctor"))
		}
	}
	denied := 0
	for _, subject := range subjects {
		m := nats.NewMsg(subject)
		m.Header.Set(jetstream.ExpectedLastSeqHeader, "9223372036854775807")
		err := allowed(ctx, nc, m)
		if err != nil {
			denied++
			e.fault(name, Failed, access.Denied(err))
		}
	}
	if denied == 0 {
		e.ok(name, "the user may publish what a %s does", access.Role)
	}
}

// allowed publishes a message and says whether the server has taken it: its refusal comes before its answer to a ping.
func allowed(ctx context.Context, nc *nats.Conn, m *nats.Msg) error {
	if err := nc.PublishMsg(m); err != nil {
		return fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	ctx, cancel := context.WithTimeout(ctx, oneLimit/2)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	if err := nc.LastError(); err != nil && strings.Contains(err.Error(), `"`+m.Subject+`"`) {
		return err
	}
	return nil
}
