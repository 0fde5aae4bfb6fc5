// Package doctor looks at everything that a program of rpmflow needs, and says what is well, what is not, and what to do about it.
//
// A role and a way to its configuration come in; a report for people or for programs goes out. What a check finds is said in
// the words of the package that the programs use for the same thing, so that their logs and the report agree. Nothing is
// left behind anywhere. Only the commands import it.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
)

// State is what a check has come to.
type State string

// The states. Only Failed keeps a program from its work.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // what to do, where something is to be done
}

// Report is the result.
type Report struct {
	Program config.Program `json:"program,omitempty"` // empty: all of the system, as seen from here
	OK      bool           `json:"ok"`                // nothing has failed
	Checks  []Check        `json:"checks"`
}

const (
	wholeLimit = 3 * time.Minute
	oneLimit   = 20 * time.Second // one request to NATS or S3, with what its client tries again
)

// Examine looks at everything that a program needs; without one at all of the system, and then what only a builder needs is
// a warning where it fails: this may be no builder's machine.
func Examine(ctx context.Context, program config.Program, load func() (*config.Config, error)) Report {
	ctx, cancel := context.WithTimeout(ctx, wholeLimit)
	defer cancel()
	e := &examination{program: program}
	cfg, err := load()
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			e.add("configuration", Failed, strings.TrimSpace(line), "")
		}
		return e.report()
	}
	e.configuration(cfg)
	e.dataDir(cfg)
	e.nats(ctx, cfg)
	e.storage(ctx, cfg)
	e.programs(ctx, cfg)
	if program != config.ForListener {
		e.milder = program == ""
		e.targets(cfg)
		e.git(ctx)
		e.engine(ctx, cfg)
	}
	return e.report()
}

type examination struct {
	program config.Program
	milder  bool // failures are warnings
	checks  []Check
}

func (e *examination) add(name string, s State, found, do string) {
	if s == Failed && e.milder {
		s = Warning
		do = strings.TrimPrefix(do+" (if builds are to run here)", " ")
	}
	e.checks = append(e.checks, Check{name, s, found, do})
}

func (e *examination) ok(name, format string, args ...any) {
	e.add(name, OK, fmt.Sprintf(format, args...), "")
}

func (e *examination) skip(name, why string) { e.add(name, Skipped, why, "") }

// fault adds what an error says.
func (e *examination) fault(name string, s State, err error) {
	what, do := rpmflow.Advice(err)
	e.add(name, s, what, do)
}

func (e *examination) report() Report {
	r := Report{Program: e.program, OK: true, Checks: e.checks}
	for _, c := range e.checks {
		r.OK = r.OK && c.State != Failed
	}
	return r
}

// WriteText writes a report for people: a line for each check, and below it what to do.
func (r Report) WriteText(w io.Writer) error {
	width := 0
	for _, c := range r.Checks {
		width = max(width, len(c.Name))
	}
	count := map[State]int{}
	var b strings.Builder
	for _, c := range r.Checks {
		count[c.State]++
		mark := string(c.State)
		if c.State == Failed {
			mark = "FAILED" // to be seen among the others
		}
		fmt.Fprintf(&b, "%-8s %-*s  %s\n", mark, width, c.Name, strings.ReplaceAll(c.Found, "\n", "; "))
		if c.Do != "" {
			fmt.Fprintf(&b, "%-8s %-*s  -> %s\n", "", width, "", c.Do)
		}
	}
	fmt.Fprintf(&b, "%d failed, %d warnings, %d ok\n", count[Failed], count[Warning], count[OK])
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes a report for programs.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
