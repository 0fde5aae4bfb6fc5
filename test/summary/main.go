// Command summary makes a run of `go test -json` readable: a line for each package, the output of what failed, what was
// skipped and why, and the counts.
//
// The events of test2json come in from the files named as arguments, which may be pipes of runs that go on side by
// side. The report goes to standard output, with the slowest packages and tests. The exit code is 1 if anything failed
// and, with TEST_REQUIRE_ALL=1, also if a test was skipped because something that it needs is missing. scripts/test
// runs it.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

func main() {
	ok, err := summarizeFiles(os.Args[1:], os.Stdout, os.Getenv("TEST_REQUIRE_ALL") == "1")
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// event is what test2json and `go build -json` write, see `go doc test2json` and `go help buildjson`.
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64 // seconds
	Output      string
	ImportPath  string // of what is built
	FailedBuild string // what could not be built, in a package's fail
}

// test is one test, subtest, example or fuzz target.
type test struct {
	pkg, name string
	outcome   string  // pass, fail, skip; empty while it runs
	elapsed   float64 // seconds
	parent    bool    // has subtests
	counted   bool    // failed, or has a subtest that is
	output    []string
}

type report struct {
	mu     sync.Mutex
	out    io.Writer
	tests  map[string][]*test  // by package, in the order in which they started
	output map[string][]string // of packages and of builds, outside of any test

	passed, failed int
	skipped        []*test

	packageTimes, testTimes []timing
}

// timing is how long a package or a test took.
type timing struct {
	name    string
	seconds float64
}

// slowest is how many packages and tests the report names.
const slowest = 10

func summarizeFiles(names []string, out io.Writer, requireAll bool) (ok bool, err error) {
	var inputs []io.Reader
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return false, err
		}
		defer f.Close() //nolint:errcheck // nothing is written with it
		inputs = append(inputs, f)
	}
	return summarize(inputs, out, requireAll)
}

func summarize(inputs []io.Reader, out io.Writer, requireAll bool) (ok bool, err error) {
	r := &report{out: out, tests: map[string][]*test{}, output: map[string][]string{}}
	var all sync.WaitGroup
	failures := make([]error, len(inputs))
	for i, in := range inputs {
		all.Go(func() { failures[i] = r.read(in) })
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		return false, fmt.Errorf("read the events of go test: %w", err)
	}
	// A go test that was killed leaves packages without an end.
	for _, pkg := range slices.Sorted(maps.Keys(r.tests)) {
		r.end(event{Action: "fail", Package: pkg})
	}
	return r.close(requireAll), nil
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) line(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Action == "" {
		fmt.Fprint(r.out, line) // the go command's own words
		return
	}
	switch {
	case e.Action == "build-output":
		r.output[e.ImportPath] = append(r.output[e.ImportPath], e.Output)
	case e.Package == "":
	case e.Test == "" && e.Action == "output":
		r.output[e.Package] = append(r.output[e.Package], e.Output)
	case e.Test == "":
		r.packageEvent(e)
	default:
		r.testEvent(e)
	}
}

func (r *report) packageEvent(e event) {
	switch e.Action {
	case "start":
		r.tests[e.Package] = nil
	case "pass", "fail", "skip":
		r.end(e)
	}
}

func (r *report) testEvent(e event) {
	t := r.find(e.Package, e.Test)
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.outcome, t.elapsed = e.Action, e.Elapsed
	}
}

func (r *report) find(pkg, name string) *test {
	for _, t := range slices.Backward(r.tests[pkg]) {
		if t.name == name {
			return t
		}
	}
	t := &test{pkg: pkg, name: name}
	if i := strings.LastIndex(name, "/"); i > 0 {
		r.find(pkg, name[:i]).parent = true
	}
	r.tests[pkg] = append(r.tests[pkg], t)
	return t
}

// end counts a package's tests and prints what there is to say of them. A test with subtests counts only if it
// failed and none of them did: the others are counted for it.
func (r *report) end(e event) {
	failed := r.failed
	for _, t := range slices.Backward(r.tests[e.Package]) { // subtests come after their parents
		switch {
		case t.outcome == "fail" || t.outcome == "" && e.Action == "fail":
			r.countFailed(t)
		case t.parent:
		case t.outcome == "skip":
			r.skipped = append(r.skipped, t)
		case t.outcome == "pass":
			r.passed++
		}
	}
	if e.Action == "fail" && r.failed == failed { // not built, or ended outside of a test
		r.failed++
	}
	name := short(e.Package)
	r.packageTimes = append(r.packageTimes, timing{name, e.Elapsed})
	for _, t := range r.tests[e.Package] {
		if !strings.Contains(t.name, "/") {
			r.testTimes = append(r.testTimes, timing{name + " " + t.name, t.elapsed})
		}
	}
	switch {
	case e.Action == "fail":
		fmt.Fprintf(r.out, "FAIL  %s\n", name)
		r.printFailures(e)
	case len(r.tests[e.Package]) > 0:
		fmt.Fprintf(r.out, "ok    %-32s %6.1fs\n", name, e.Elapsed)
	default:
		fmt.Fprintf(r.out, "-     %-32s no tests\n", name)
	}
	delete(r.tests, e.Package)
}

func (r *report) countFailed(t *test) {
	if !t.counted {
		r.failed++
	}
	for name := t.name; ; {
		i := strings.LastIndex(name, "/")
		if i < 0 {
			return
		}
		name = name[:i]
		r.find(t.pkg, name).counted = true
	}
}

func (r *report) printFailures(e event) {
	show := func(lines []string) {
		for l := range strings.Lines(strings.Join(lines, "")) {
			fmt.Fprint(r.out, "      ", l)
		}
	}
	show(r.output[e.FailedBuild])
	for _, t := range r.tests[e.Package] {
		switch t.outcome {
		case "fail":
			show(t.output)
		case "":
			show(append(t.output, fmt.Sprintf("--- DID NOT END: %s\n", t.name)))
		}
	}
	show(r.output[e.Package])
}

func short(pkg string) string { return strings.TrimPrefix(pkg, "github.com/rpmflow/rpmflow/") }

func (r *report) printSlowest(what string, times []timing) {
	slices.SortStableFunc(times, func(a, b timing) int { return cmp.Compare(b.seconds, a.seconds) })
	times = times[:min(slowest, len(times))]
	if len(times) == 0 || times[0].seconds == 0 {
		return
	}
	fmt.Fprintf(r.out, "\nslowest %s:\n", what)
	for _, t := range times {
		if t.seconds > 0 {
			fmt.Fprintf(r.out, "  %6.1fs %s\n", t.seconds, t.name)
		}
	}
}

func (r *report) close(requireAll bool) (ok bool) {
	r.printSlowest("packages", r.packageTimes)
	r.printSlowest("tests", r.testTimes)
	missing := 0
	if len(r.skipped) > 0 {
		fmt.Fprintln(r.out, "\nskipped:")
	}
	for _, t := range r.skipped {
		why := t.reason()
		fmt.Fprintf(r.out, "  %s %s: %s\n", short(t.pkg), t.name, why)
		if needs(why) {
			missing++
		}
	}
	fmt.Fprintln(r.out)
	if requireAll && missing > 0 {
		fmt.Fprintf(r.out, "FAIL: %d tests were skipped because something is missing, and all are required here\n",
			missing)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, len(r.skipped))
	return r.failed == 0 && (!requireAll || missing == 0)
}

var place = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

// reason is the message of t.Skip: the one that names a need, else the last.
func (t *test) reason() string {
	var messages []string
	for l := range strings.Lines(strings.Join(t.output, "")) {
		text := strings.TrimSpace(place.ReplaceAllString(l, ""))
		switch {
		case text == "", strings.HasPrefix(text, "=== "), strings.HasPrefix(text, "--- SKIP"):
		case place.MatchString(l) || len(messages) == 0:
			messages = append(messages, text)
		default:
			messages[len(messages)-1] += " " + text
		}
	}
	if len(messages) == 0 {
		return "no reason given"
	}
	for _, m := range messages {
		if needs(m) {
			return m
		}
	}
	return messages[len(messages)-1]
}

// needs reports whether a test was skipped because the machine lacks something, by the convention of all tests here.
func needs(reason string) bool { return strings.HasPrefix(strings.ToLower(reason), "needs ") }
