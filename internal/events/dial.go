package events

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// complainEvery is the time between log messages about a login that is refused again and again.
const complainEvery = time.Minute

// Dial connects once. The connection reconnects for ever.
func Dial(a Access, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	at := redact(a.URL)
	login, err := a.login()
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS at %s: %w", at, err)
	}
	r := &reporter{access: a, log: log}
	opts := append(login,
		nats.Name(a.Name), nats.Timeout(cmp.Or(a.Timeout, publishWait)),
		nats.PingInterval(10*time.Second), nats.MaxPingsOutstanding(2), nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(500*time.Millisecond), nats.ReconnectJitter(500*time.Millisecond, time.Second),
		nats.DisconnectErrHandler(r.disconnected), nats.ReconnectHandler(r.reconnected), nats.ErrorHandler(r.failed))
	if a.CAFile != "" {
		opts = append(opts, nats.RootCAs(a.CAFile))
	}
	if prefix := a.inbox(); prefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(prefix))
	}
	nc, err := nats.Connect(a.URL, opts...)
	if err != nil {
		do := "is the server running and is nats.url right?"
		if refused(err) {
			do = a.loginHint()
		}
		return nil, nil, hint.Add(fmt.Errorf("connect to NATS at %s: %w", at, err), do)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(publishWait))
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("JetStream at %s: %w", at, err)
	}
	return nc, js, nil
}

func (a Access) login() ([]nats.Option, error) {
	switch {
	case a.Credentials != "":
		return []nats.Option{nats.UserCredentials(a.Credentials)}, nil
	case a.NKey != "":
		pair, err := nkeys.FromSeed([]byte(a.NKey))
		if err != nil {
			return nil, fmt.Errorf("nats.nkey: %w: set it to the seed of a user's nkey, which begins with SU", err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("nats.nkey: %w", err)
		}
		if !nkeys.IsValidPublicUserKey(public) {
			return nil, errors.New("nats.nkey is not the key of a user: set it to the seed of a user's nkey, " +
				"which begins with SU")
		}
		return []nats.Option{nats.Nkey(public, pair.Sign)}, nil
	case a.Token != "":
		return []nats.Option{nats.Token(a.Token)}, nil
	case a.User != "":
		return []nats.Option{nats.UserInfo(a.User, a.Password)}, nil
	}
	return nil, nil
}

// inbox is the beginning of the subjects under which answers come; empty: that of the library.
func (a Access) inbox() string {
	switch role := cmp.Or(a.Role, rpmflow.Role(a.User)); role {
	case rpmflow.RoleListener, rpmflow.RoleBuilder, rpmflow.RolePublisher:
		return inboxPrefix(role)
	default:
		return ""
	}
}

// who is the user's name for messages.
func (a Access) who() string {
	return cmp.Or(a.User, string(a.Role), "of this program")
}

func (a Access) loginHint() string {
	keys := "no login is set: set nats.user and nats.password, or nats.nkey, to those of the server"
	switch {
	case a.Credentials != "":
		keys = "check nats.credentials"
	case a.NKey != "":
		keys = "check nats.nkey: the server must have its public half"
	case a.Token != "":
		keys = "check nats.token"
	case a.User != "":
		keys = fmt.Sprintf("check nats.user (%s) and nats.password", a.User)
	}
	return keys
}

// refused reports whether the server has refused the login.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// reporter logs what happens to a connection. The library calls it from one goroutine.
type reporter struct {
	access     Access
	log        *slog.Logger
	complained time.Time
}

func (r *reporter) disconnected(_ *nats.Conn, err error) {
	if err != nil {
		r.log.Warn("connection to NATS lost, reconnecting", "error", err)
	}
}

func (r *reporter) reconnected(nc *nats.Conn) {
	r.complained = time.Time{}
	r.log.Info("connected to NATS again", "url", nc.ConnectedUrlRedacted())
}

func (r *reporter) failed(_ *nats.Conn, s *nats.Subscription, err error) {
	subject := ""
	if s != nil {
		subject = s.Subject
	}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		verb, subject := violation(err)
		r.log.Error(fmt.Sprintf("the NATS user %s may not %s %s: use the accounts of `rpmflow config nats`",
			r.access.who(), verb, subject), "subject", subject, "error", err)
	case refused(err):
		if time.Since(r.complained) < complainEvery {
			return
		}
		r.complained = time.Now()
		r.log.Error("NATS refuses the login, trying again: "+r.access.loginHint(), "user", r.access.who(), "error", err)
	default:
		r.log.Warn("NATS reports an error", "subject", subject, "error", err)
	}
}

// violation parses the server's message, such as `permissions violation for publish to "rpmflow.x"`.
func violation(err error) (verb, subject string) {
	before, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ = strings.Cut(rest, `"`)
	switch before = strings.ToLower(before); {
	case strings.Contains(before, "subscription"):
		return "subscribe to", subject
	case strings.Contains(before, "reply"):
		return "publish with the reply subject", subject
	}
	return "publish to", subject
}
