package events

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// UserSystem is the user of the system account, for commands about the servers themselves (`nats server …`).
const UserSystem = "system"

// Accounts are the accounts of NATS servers: one that has the streams, with a user for each program; one for each
// subscriber; and the system's. From a subscriber's account nothing can be written into the others, with any
// reply subject.
type Accounts struct {
	Subscribers []string // names, which are also those of their users
	// Login is how a user logs in, in the language of the servers' configuration: user: "a", password: "b".
	Login func(user string) string
}

// Users lists the users that there are.
func (a Accounts) Users() []string {
	return slices.Concat([]string{
		string(rpmflow.RoleListener), string(rpmflow.RoleBuilder), string(rpmflow.RolePublisher),
		string(rpmflow.RoleAdmin),
		UserSystem,
	}, a.Subscribers)
}

// Config is the part of the servers' configuration that describes the accounts.
func (a Accounts) Config() string {
	var c conf
	c.open("accounts {")
	c.open("RPMFLOW {")
	c.line("jetstream: enabled")
	c.open("users: [")
	for _, role := range []rpmflow.Role{rpmflow.RoleListener, rpmflow.RoleBuilder, rpmflow.RolePublisher} {
		c.user(a.Login(string(role)), RightsOf(role))
	}
	c.line("{ %s }", a.Login(string(rpmflow.RoleAdmin)))
	c.close("]")
	c.open("exports: [")
	c.line("{ stream: %q }", subjectAnnounced)
	c.line("{ service: %q }", accountInfo)
	for _, name := range a.Subscribers {
		for _, subject := range subscriberRequests(name) {
			c.line("{ service: %q, accounts: [%q]%s }", subject, subscriberAccount(name), responses(subject))
		}
	}
	c.close("]")
	c.close("}")
	for _, name := range a.Subscribers {
		c.open(fmt.Sprintf("%q: {", subscriberAccount(name)))
		c.open("users: [")
		c.user(a.Login(name), SubscriberRights(name))
		c.close("]")
		c.open("imports: [")
		c.line("{ stream: { account: RPMFLOW, subject: %q }, to: %q }", subjectAnnounced, numbered(SubjectFinished))
		c.line("{ service: { account: RPMFLOW, subject: %q } }", accountInfo)
		for _, subject := range subscriberRequests(name) {
			c.line("{ service: { account: RPMFLOW, subject: %q } }", subject)
		}
		c.close("]")
		c.close("}")
	}
	c.open("SYSTEM {")
	c.line("users: [ { %s } ]", a.Login(UserSystem))
	c.close("}")
	c.close("}")
	c.line("system_account: SYSTEM")
	return c.String()
}

func subscriberAccount(name string) string { return "SUBSCRIBER_" + Token(name) }

// responses returns how many answers a request has: one to fetch has as many as there are messages, and heartbeats.
func responses(subject string) string {
	if strings.Contains(subject, ".MSG.NEXT.") {
		return ", response_type: stream"
	}
	return ""
}

// numbered replaces the wildcards of a subject by $1, $2 and so on, as mappings want them.
func numbered(subject string) string {
	tokens, n := strings.Split(subject, "."), 0
	for i, t := range tokens {
		if t == "*" {
			n++
			tokens[i] = fmt.Sprintf("$%d", n)
		}
	}
	return strings.Join(tokens, ".")
}

// conf writes the servers' configuration language.
type conf struct {
	strings.Builder
	depth int
}

func (c *conf) line(format string, args ...any) {
	c.WriteString(strings.Repeat("  ", c.depth))
	fmt.Fprintf(c, format, args...)
	c.WriteByte('\n')
}

func (c *conf) open(s string) { c.line("%s", s); c.depth++ }

func (c *conf) close(s string) { c.depth--; c.line("%s", s) }

func (c *conf) user(login string, r Rights) {
	c.open("{")
	c.line("%s", login)
	c.open("permissions: {")
	c.subjects("publish", r.Publish)
	c.subjects("subscribe", r.Subscribe)
	c.close("}")
	c.close("}")
}

func (c *conf) subjects(verb string, subjects []string) {
	c.open(verb + ": { allow: [")
	for _, s := range subjects {
		c.line("%q", s)
	}
	c.close("] }")
}

// accountInfo is imported although no subscriber may use it: in an account that does not import it the server answers
// all requests to $JS.API itself, and its "not enabled" comes before the answers that are wanted.
const accountInfo = "$JS.API.INFO"
