// Package doctor runs the checks of a program and reports what they find, for people and as JSON.
//
// The checks come in; each is in the package that it checks and uses that package's own words, so that the programs'
// logs and the report agree. A report goes out. Everybody may import it; it is independent of what is checked.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/hint"
)

// State is the result of a check.
type State string

// The states. Only Failed keeps a program from working.
const (
	OK      State = "ok"
	Warning State = "warning"
	Failed  State = "failed"
	Skipped State = "skipped"
)

// Finding is one thing that a check has found.
type Finding struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // what to do about it
}

// Report is what all checks have found.
type Report struct {
	Program string    `json:"program,omitempty"` // empty: the whole system
	OK      bool      `json:"ok"`                // nothing has failed
	Checks  []Finding `json:"checks"`
}

const (
	// RequestLimit bounds one request of a check, with its client's own retries.
	RequestLimit = 20 * time.Second
	totalLimit   = 3 * time.Minute
)

// Check looks at one part of the system and adds what it finds. It leaves nothing behind.
type Check func(ctx context.Context, f *Findings)

// AsWarnings turns the failures of checks into warnings, with a condition under which they matter.
func AsWarnings(condition string, checks ...Check) Check {
	return func(ctx context.Context, f *Findings) {
		inner := &Findings{}
		for _, check := range checks {
			check(ctx, inner)
		}
		for _, n := range inner.list {
			if n.State == Failed {
				n.State, n.Do = Warning, strings.TrimPrefix(n.Do+" ("+condition+")", " ")
			}
			f.list = append(f.list, n)
		}
	}
}

// Examine runs the checks that load returns. Its error is a finding about the configuration, one for each line.
func Examine(ctx context.Context, program string, load func() ([]Check, error)) Report {
	ctx, cancel := context.WithTimeout(ctx, totalLimit)
	defer cancel()
	f := &Findings{}
	checks, err := load()
	if err != nil {
		f.Lines("configuration", err)
	}
	for _, check := range checks {
		check(ctx, f)
	}
	r := Report{Program: program, OK: true, Checks: f.list}
	for _, n := range f.list {
		r.OK = r.OK && n.State != Failed
	}
	return r
}

// Findings collects what checks find.
type Findings struct{ list []Finding }

// Add adds a finding; do may be empty.
func (f *Findings) Add(name string, s State, found, do string) {
	f.list = append(f.list, Finding{name, s, found, do})
}

// OK adds that something is as it must be.
func (f *Findings) OK(name, format string, args ...any) {
	f.Add(name, OK, fmt.Sprintf(format, args...), "")
}

// Skip adds that something cannot be checked, and why.
func (f *Findings) Skip(name, why string) { f.Add(name, Skipped, why, "") }

// Error adds an error with its hint.
func (f *Findings) Error(name string, s State, err error) {
	what, do := hint.Split(err)
	f.Add(name, s, what, do)
}

// Lines adds a failure for each line of an error that joins several.
func (f *Findings) Lines(name string, err error) {
	for line := range strings.Lines(err.Error()) {
		f.Add(name, Failed, strings.TrimSpace(line), "")
	}
}

// maxSkew is far more than clocks that are set from the network differ by. S3 refuses signatures from 15 minutes on.
const maxSkew = 10 * time.Second

// Clock compares this machine's clock with another one, which was read between asked and now.
func (f *Findings) Clock(whose string, theirs, asked time.Time) {
	name := "clock of " + whose
	skew := time.Until(theirs)
	if took := time.Since(asked); skew < 0 && skew > -took { // it was read during the request
		skew = 0
	}
	if skew.Abs() > maxSkew {
		f.Add(name, Warning, fmt.Sprintf("differs from this machine's by %s", skew.Abs().Round(time.Second)),
			"set the clocks from the network (NTP): S3 refuses requests that are 15 minutes off")
		return
	}
	f.OK(name, "agrees with this machine's")
}

// WriteText writes a report for people: a line for each finding, and below it what to do.
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
			mark = "FAILED" // stands out among the others
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
