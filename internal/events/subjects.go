package events

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/giturl"
)

// The streams. The listener makes all of them; publishers write PUBLISHED and PUBLISHING.
const (
	StreamPushes     = "PUSHES"
	StreamBuilds     = "BUILDS"
	StreamEvents     = "EVENTS"
	StreamLogs       = "LOGS"
	StreamPublished  = "PUBLISHED"
	StreamPublishing = "PUBLISHING"
)

// SubjectFinished matches the finished event of every build: what most subscribers want.
const SubjectFinished = "rpmflow.events.*.*.*.finished"

// subjectAnnounced is where the server repeats a finished event once it is stored, for subscribers without a consumer.
const subjectAnnounced = "rpmflow.finished.*.*.*"

// Token spells any name as one subject token, reversibly: letters, digits, _ and - stand for themselves, every other
// byte is written %XX. Mock's target names contain dots (opensuse-leap-15.6-x86_64), which would split a subject.
func Token(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func pushSubject(project, push, kind string) string {
	return "rpmflow.pushes." + Token(project) + "." + Token(push) + "." + kind
}

// eventSubject with kind "*" is the fence of a build. Every publish under a build uses this very string as its filter:
// on a replicated stream, a write with another filter slips past (see Ledger.Append).
func eventSubject(b rpmflow.Build, kind string) string {
	return "rpmflow.events." + Token(b.Project) + "." + Token(b.Target) + "." + Token(b.ID) + "." + kind
}

func buildSubject(arch, project string) string {
	return "rpmflow.builds." + Token(arch) + "." + Token(project)
}

func workSubject(arch string) string { return "rpmflow.wake." + Token(arch) }

// cancelSubject is where the owner of a build is notified that it is to be canceled.
func cancelSubject(build string) string { return "rpmflow.cancel." + Token(build) }

// beatSubject is where the owner of a build's message sends its heartbeats.
func beatSubject(message uint64) string { return "rpmflow.beats." + strconv.FormatUint(message, 10) }

func logSubject(build string) string { return "rpmflow.logs." + Token(build) }

// redact hides users and passwords in a list of server URLs.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, one := range list {
		list[i] = giturl.Redact(strings.TrimSpace(one))
	}
	return strings.Join(list, ",")
}
