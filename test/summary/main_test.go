package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestSummarize(t *testing.T) {
	t.Parallel()
	const p = `"Package":"github.com/rpmflow/rpmflow/internal/x"`
	for _, c := range []struct {
		name       string
		events     []string
		requireAll bool
		ok         bool
		says       []string // in this order
	}{
		{
			name: "all passed; a test with subtests counts by those",
			events: []string{
				`{"Action":"start",` + p + `}`,
				`{"Action":"run",` + p + `,"Test":"TestA"}`,
				`{"Action":"run",` + p + `,"Test":"TestA/one"}`,
				`{"Action":"pass",` + p + `,"Test":"TestA/one"}`,
				`{"Action":"run",` + p + `,"Test":"TestA/two"}`,
				`{"Action":"pass",` + p + `,"Test":"TestA/two"}`,
				`{"Action":"pass",` + p + `,"Test":"TestA"}`,
				`{"Action":"pass",` + p + `,"Elapsed":1.5}`,
			},
			ok: true, says: []string{"ok    internal/x ", " 1.5s\n", "\n2 passed, 0 failed, 0 skipped\n"},
		},
		{
			name: "a failed subtest is one failure, and its output is shown",
			events: []string{
				`{"Action":"run",` + p + `,"Test":"TestA"}`,
				`{"Action":"run",` + p + `,"Test":"TestA/one"}`,
				`{"Action":"output",` + p + `,"Test":"TestA/one","Output":"    x_test.go:7: not so\n"}`,
				`{"Action":"fail",` + p + `,"Test":"TestA/one"}`,
				`{"Action":"fail",` + p + `,"Test":"TestA"}`,
				`{"Action":"output",` + p + `,"Output":"FAIL\n"}`,
				`{"Action":"fail",` + p + `}`,
			},
			says: []string{"FAIL  internal/x\n", "x_test.go:7: not so\n", "\n0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name: "a test that fails by itself and has a subtest that passes",
			events: []string{
				`{"Action":"run",` + p + `,"Test":"TestA"}`,
				`{"Action":"run",` + p + `,"Test":"TestA/one"}`,
				`{"Action":"pass",` + p + `,"Test":"TestA/one"}`,
				`{"Action":"fail",` + p + `,"Test":"TestA"}`,
				`{"Action":"fail",` + p + `}`,
			},
			says: []string{"\n1 passed, 1 failed, 0 skipped\n"},
		},
		{
			name: "not built",
			events: []string{
				`{"ImportPath":"x [x.test]","Action":"build-output","Output":"x.go:1:1: undefined: y\n"}`,
				`{"ImportPath":"x [x.test]","Action":"build-fail"}`,
				`{"Action":"start",` + p + `}`,
				`{"Action":"fail",` + p + `,"FailedBuild":"x [x.test]"}`,
			},
			says: []string{"FAIL  internal/x\n", "undefined: y\n", "\n0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name: "the process ended in the middle of a test",
			events: []string{
				`{"Action":"run",` + p + `,"Test":"TestA"}`,
				`{"Action":"output",` + p + `,"Output":"exit status 3\n"}`,
				`{"Action":"fail",` + p + `}`,
			},
			says: []string{"DID NOT END: TestA\n", "exit status 3\n", "\n0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name:   "go test itself was killed",
			events: []string{`{"Action":"start",` + p + `}`, `{"Action":"run",` + p + `,"Test":"TestA"}`},
			says:   []string{"FAIL  internal/x\n", "\n0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name:   "what is not an event is passed on",
			events: []string{`go: something is wrong`, `{"Action":"skip",` + p + `}`},
			ok:     true, says: []string{"go: something is wrong\n", "no tests\n", "\n0 passed, 0 failed, 0 skipped\n"},
		},
		{
			name: "skipped, with the reason",
			events: skipped(p, `x_test.go:8: an aside\n`, `x_test.go:9: NEEDS docker: no engine answers:\n`,
				`        try another\n`, `x_test.go:10: cleaned up\n`),
			ok: true, says: []string{"\nskipped:\n  internal/x TestA: NEEDS docker: no engine answers: try another\n",
				"\n0 passed, 0 failed, 1 skipped\n"},
		},
		{
			name: "skipped for a need where all are required", requireAll: true,
			events: skipped(p, `x_test.go:9: needs docker\n`),
			says:   []string{"FAIL: 1 tests were skipped", "\n0 passed, 0 failed, 1 skipped\n"},
		},
		{
			name: "skipped for another reason where all are required", requireAll: true,
			events: skipped(p, `x_test.go:9: only with real mock\n`),
			ok:     true, says: []string{"TestA: only with real mock\n", "\n0 passed, 0 failed, 1 skipped\n"},
		},
		{
			name: "the slowest packages and tests",
			events: []string{
				`{"Action":"pass",` + p + `,"Test":"TestQuick","Elapsed":0.25}`,
				`{"Action":"pass",` + p + `,"Test":"TestSlow/part","Elapsed":2}`,
				`{"Action":"pass",` + p + `,"Test":"TestSlow","Elapsed":3}`,
				`{"Action":"pass",` + p + `,"Elapsed":4.5}`,
			},
			ok: true, says: []string{
				"slowest packages:\n     4.5s internal/x\n",
				"slowest tests:\n     3.0s internal/x TestSlow\n     0.2s internal/x TestQuick\n",
			},
		},
		{
			name: "skipped without a reason", events: skipped(p),
			ok: true, says: []string{"TestA: no reason given\n"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			ok, err := summarize([]io.Reader{strings.NewReader(strings.Join(c.events, "\n") + "\n")}, &out,
				c.requireAll)
			testkit.Must(t, err)
			if ok != c.ok {
				t.Errorf("ok = %v, want %v", ok, c.ok)
			}
			rest := out.String()
			for _, want := range c.says {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("%q is missing, or not in its place:\n%s", want, out.String())
				}
				rest = after
				if strings.HasSuffix(want, "skipped\n") && rest != "" {
					t.Errorf("the counts are not the last line:\n%s", out.String())
				}
			}
		})
	}
}

func skipped(p string, output ...string) []string {
	events := []string{`{"Action":"run",` + p + `,"Test":"TestA"}`, `{"Action":"output",` + p +
		`,"Test":"TestA","Output":"=== RUN   TestA\n"}`}
	for _, o := range output {
		events = append(events, `{"Action":"output",`+p+`,"Test":"TestA","Output":"    `+o+`"}`)
	}
	return append(events,
		`{"Action":"output",`+p+`,"Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}`,
		`{"Action":"skip",`+p+`,"Test":"TestA"}`, `{"Action":"pass",`+p+`}`)
}

func TestRunsSideBySide(t *testing.T) {
	t.Parallel()
	run := func(pkg string) io.Reader {
		var b strings.Builder
		for i := range 200 {
			fmt.Fprintf(&b, `{"Action":"pass","Package":%q,"Test":"Test%d"}`+"\n", pkg, i)
		}
		fmt.Fprintf(&b, `{"Action":"pass","Package":%q}`+"\n", pkg)
		return strings.NewReader(b.String())
	}
	var out bytes.Buffer
	ok, err := summarize([]io.Reader{run("a"), run("b")}, &out, true)
	if err != nil || !ok || !strings.Contains(out.String(), "400 passed, 0 failed, 0 skipped") {
		t.Errorf("ok = %v, error %v:\n%s", ok, err, out.String())
	}
}
