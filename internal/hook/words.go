package hook

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
)

// maxLines is how many builds of one ref are listed.
const maxLines = 20

// words prints for the user who has pushed what it led to. git shows it behind "remote: ".
type words struct {
	out     io.Writer
	project string
	several bool // refs were pushed
	refused bool // something was, and it was said
}

func (w *words) say(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintln(w.out, clean(line))
	}
}

// clean takes away what could do something to a terminal: refs and answers are others' words.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// answer has a line for each build, or the reason why there are none. Late ones were pushed before.
func (w *words) answer(d forge.GenericDelivery, res result, late bool) {
	of := ""
	if w.several || late {
		of = " of " + strings.TrimPrefix(strings.TrimPrefix(d.Ref, "refs/heads/"), "refs/tags/")
	}
	if late {
		of += ", pushed before,"
	}
	a := res.answer
	for _, b := range a.Builds[:min(len(a.Builds), maxLines)] {
		id, state := b.ID, "queued"
		if len(id) > 8 {
			id = id[:8]
		}
		if a.Duplicate {
			state = "announced before,"
		}
		w.say("%s%s for %s: %s as %s · %s", b.Package, of, b.Target, state, id, b.URL)
	}
	if more := len(a.Builds) - maxLines; more > 0 {
		w.say("… and %d builds more: rpmflow list --project %s", more, w.project)
	}
	if len(a.Builds) == 0 {
		w.say("%s%s: nothing is built: %s", w.project, of, a.Reason)
	}
	for _, not := range a.NotBuilt {
		w.say("%s%s: %s", w.project, of, not)
	}
}

// rejected returns what the listener does not take, and where it is kept.
func (w *words) rejected(d forge.GenericDelivery, res result, dir string) {
	w.refused = true
	w.say("%s is NOT announced: %s", d.Ref, res.why)
	if res.hint != "" {
		w.say("  what to do: %s", res.hint)
	}
	if dir != "" {
		w.say("  it is kept in %s; when that is done: rpmflow hook flush --rejected %s", dir,
			argument(strings.TrimSuffix(dir, "/rpmflow/rejected")))
	}
	if !rpmflow.IsZeroCommit(d.After) {
		w.say("  or build it with: rpmflow submit %s --ref %s", w.project, argument(d.Ref))
	}
}

// kept returns what waits, and for what.
func (w *words) kept(res result, waiting int) {
	w.say("%s", res.why)
	what := "the push is kept"
	if waiting > 1 {
		what = fmt.Sprintf("%d pushes are kept", waiting)
	}
	w.say("%s and delivered, in order, by the next push to this repository or by: rpmflow hook flush", what)
}
