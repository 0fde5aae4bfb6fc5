package events

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
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
)

const (
	minMajor, minMinor = 2, 12   // of the server: scheduled messages
	minPayload         = 1 << 20 // a record with all its artifacts must fit into one message
	almostFull         = 80      // percent
)

// Check looks at the server, at the streams that programs of the role use, and at what the user may not do. Without a
// role it looks at all streams and tries no rights: it is a person's user, which reads.
func (a Access) Check(ctx context.Context, f *doctor.Findings) {
	const name = "NATS"
	nc, js, err := Dial(a, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Error(name, doctor.Failed, err)
		f.Skip("streams", "NATS cannot be asked")
		return
	}
	defer nc.Close()
	how := "without TLS"
	if _, err := nc.TLSConnectionState(); err == nil {
		how = "with TLS"
	}
	version := nc.ConnectedServerVersion()
	var major, minor int
	_, err = fmt.Sscanf(version, "%d.%d", &major, &minor)
	if err != nil || major < minMajor || major == minMajor && minor < minMinor {
		f.Add(name, doctor.Failed, fmt.Sprintf("%s runs version %s", nc.ConnectedUrlRedacted(), version),
			fmt.Sprintf("install NATS %d.%d or later", minMajor, minMinor))
	} else {
		f.OK(name, "%s, server %s, version %s, %s", nc.ConnectedUrlRedacted(), nc.ConnectedServerName(), version, how)
	}
	if most := nc.MaxPayload(); most < minPayload {
		f.Add(name, doctor.Warning,
			fmt.Sprintf("a message may have %d KiB at most, and the record of a build with many packages has more",
				most>>10),
			"raise max_payload of the servers to 1 MiB")
	}
	c := check{a, nc, js, f}
	c.streams(ctx)
	if a.Role != "" {
		c.rights(ctx)
	}
}

// check is a check of a connection.
type check struct {
	access Access
	nc     *nats.Conn
	js     jetstream.JetStream
	f      *doctor.Findings
}

// waits reports whether the program waits for streams that a listener makes.
func (c check) waits() bool {
	return c.access.Role == rpmflow.RoleBuilder || c.access.Role == rpmflow.RolePublisher
}

func (c check) streams(ctx context.Context) {
	names := streams()
	switch c.access.Role { //nolint:exhaustive // others see all
	case rpmflow.RoleBuilder:
		names = []string{StreamBuilds, StreamEvents, StreamLogs}
	case rpmflow.RolePublisher:
		names = []string{StreamEvents, StreamPublished, StreamPublishing}
	}
	clock := false
	for _, stream := range names {
		name := "stream " + stream
		// A request that is refused is never answered.
		if err := allowed(ctx, c.nc, nats.NewMsg("$JS.API.STREAM.INFO."+stream)); err != nil {
			c.f.Error(name, doctor.Failed, c.access.Denied(err))
			continue
		}
		asked := time.Now()
		sctx, cancel := context.WithTimeout(ctx, doctor.RequestLimit/2)
		s, err := c.js.Stream(sctx, stream)
		cancel()
		if err != nil {
			if !c.noStream(name, err) {
				return // the other streams would return the same error
			}
			continue
		}
		info := s.CachedInfo()
		if !clock && !info.TimeStamp.IsZero() {
			clock = true
			c.f.Clock("NATS", info.TimeStamp, asked)
		}
		c.stream(name, info)
	}
}

// noStream reports why a stream cannot be looked at, and says whether others may be.
func (c check) noStream(name string, err error) (goOn bool) {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		state := doctor.Warning
		if c.waits() {
			state = doctor.Failed
		}
		c.f.Add(name, state, "is not there", "start a listener: it makes the streams")
		return true
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount),
		errors.Is(err, nats.ErrNoResponders):
		c.f.Error("JetStream", doctor.Failed,
			hint.Add(fmt.Errorf("is not there: %w", err), "switch it on for the servers "+
				"(jetstream {}) and for the user's account; a cluster needs more than half of its servers"))
		return false
	}
	if denied := c.nc.LastError(); errors.Is(denied, nats.ErrPermissionViolation) {
		c.f.Error(name, doctor.Failed, c.access.Denied(denied))
		return false
	}
	c.f.Error(name, doctor.Failed, hint.Add(err, "look into the log of the NATS servers"))
	return false
}

func (c check) stream(name string, info *jetstream.StreamInfo) {
	found := fmt.Sprintf("%d messages, %d MiB", info.State.Msgs, info.State.Bytes>>20)
	full := uint64(0)
	if info.Config.MaxBytes > 0 {
		full = info.State.Bytes * 100 / uint64(info.Config.MaxBytes)
		found += fmt.Sprintf(" of %d MiB (%d %%)", info.Config.MaxBytes>>20, full)
	}
	found += fmt.Sprintf(", replicas: %d", max(info.Config.Replicas, 1))
	state, do := doctor.OK, ""
	if want := c.access.Streams.Replicas; !c.waits() && info.Config.Replicas != want {
		state = doctor.Warning
		do = fmt.Sprintf("nats.replicas is %d: restart a listener, which brings the streams up to date", want)
	}
	if full >= almostFull && info.Config.Discard == jetstream.DiscardNew {
		state = doctor.Warning
		do = "raise nats.max_bytes and restart a listener, or purge what is finished: a full stream takes nothing more"
	}
	if cluster := info.Cluster; cluster != nil && info.Config.Replicas > 1 {
		for _, peer := range cluster.Replicas {
			if peer.Offline || !peer.Current {
				found += fmt.Sprintf(", server %s is away or behind", peer.Name)
				state, do = doctor.Warning, "look at that server: with one more missing nothing is taken"
			}
		}
		if cluster.Leader == "" {
			found += ", no leader"
			state, do = doctor.Failed, "start more of its servers: more than half of them are needed"
		}
	}
	c.f.Add(name, state, found, do)
}

// rights tries what the program publishes. Each message has a condition that no stream meets, so none is stored.
// Outcomes are not tried: others listen to them outside of streams.
func (c check) rights(ctx context.Context) {
	const name = "NATS rights"
	denied := 0
	for _, pattern := range RightsOf(c.access.Role).Publish {
		if !strings.HasPrefix(pattern, "rpmflow.") || strings.HasSuffix(pattern, "."+string(TypeFinished)) {
			continue
		}
		m := nats.NewMsg(strings.ReplaceAll(pattern, "*", "doctor"))
		m.Header.Set(jetstream.ExpectedLastSeqHeader, "9223372036854775807")
		if err := allowed(ctx, c.nc, m); err != nil {
			denied++
			c.f.Error(name, doctor.Failed, c.access.Denied(err))
		}
	}
	if denied == 0 {
		c.f.OK(name, "the user may publish what a %s does", c.access.Role)
	}
}

// allowed publishes a message and says whether the server has taken it: its refusal comes before its answer to a ping.
func allowed(ctx context.Context, nc *nats.Conn, m *nats.Msg) error {
	if err := nc.PublishMsg(m); err != nil {
		return fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	ctx, cancel := context.WithTimeout(ctx, doctor.RequestLimit/2)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("publish to %s: %w", m.Subject, err)
	}
	if err := nc.LastError(); err != nil && strings.Contains(err.Error(), `"`+m.Subject+`"`) {
		return err
	}
	return nil
}
