package hostrpm_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	lifeline.Main(nil)
	goleak.VerifyTestMain(m)
}

// fixture is a session and what goes into it.
type fixture struct {
	t       *testing.T
	session build.Session
	engine  *hostrpm.Engine
	dir     string
	spec    string
	sources string
	log     bytes.Buffer
}

// newFixture makes a package hello of these lines after its %description; tags precede it.
func newFixture(t *testing.T, dir, tags, rest string) *fixture {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skipf("needs rpmbuild: %v", err)
	}
	b := &fixture{t: t, dir: dir, spec: filepath.Join(dir, "SPECS", "hello.spec"),
		sources: filepath.Join(dir, "SOURCES")}
	for _, d := range []string{"SPECS", "SOURCES", "results"} {
		testkit.Must(b.t, os.MkdirAll(filepath.Join(dir, d), 0o700))
	}
	testkit.Must(b.t, os.WriteFile(b.spec, []byte("Name: hello\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\n"+
		"Source0: hello.txt\n"+tags+"\n\n%description\nx\n\n"+rest), 0o600))
	testkit.Must(b.t, os.WriteFile(filepath.Join(b.sources, "hello.txt"), []byte("hello\n"), 0o600))
	epoch := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, file := range []string{b.spec, filepath.Join(b.sources, "hello.txt")} { // as package source leaves them
		testkit.Must(b.t, os.Chtimes(file, epoch, epoch))
	}
	var err error
	b.engine, err = hostrpm.New(t.Context(), "")
	testkit.Must(b.t, err)
	testkit.Must(b.t, b.engine.Ready(t.Context()))
	b.open(epoch, &b.log)
	return b
}

func (b *fixture) open(epoch time.Time, log io.Writer) {
	var err error
	b.session, err = b.engine.Open(b.t.Context(), build.Job{Dir: filepath.Join(b.dir, "results"), Epoch: epoch,
		Log:         log,
		OnContainer: func(string) {}})
	testkit.Must(b.t, err)
	b.t.Cleanup(func() { testkit.Must(b.t, b.session.Close(context.Background())) })
}

// build takes the package through all steps.
func (b *fixture) build(ctx context.Context) (files []string, err error) {
	if err := b.session.Root(ctx); err != nil {
		return nil, err
	}
	srpm, err := b.session.SRPM(ctx, b.spec, b.sources)
	if err != nil {
		return nil, err
	}
	if err := b.session.Dependencies(ctx, srpm); err != nil {
		return nil, err
	}
	rpms, err := b.session.RPMs(ctx, srpm)
	return append([]string{srpm}, rpms...), err
}

const good = "%build\necho built >out\n\n%install\nmkdir -p %{buildroot}/usr/share/hello\n" +
	"cp %{SOURCE0} %{buildroot}/usr/share/hello/\n\n%files\n/usr/share/hello\n"

func TestBuild(t *testing.T) {
	b := newFixture(t, t.TempDir(), "BuildArch: noarch", good)
	if b.engine.Name() != "rpmbuild" || len(b.engine.Caveats()) == 0 || !strings.Contains(b.engine.Caveats()[0],
		"no isolation; a package's code runs as ") {
		t.Errorf("%s with the caveats %q", b.engine.Name(), b.engine.Caveats())
	}
	files, err := b.build(t.Context())
	testkit.Must(b.t, err)
	var nevras []string
	for _, f := range files {
		p, err := rpmfile.Package(f)
		testkit.Must(b.t, err)
		nevras = append(nevras, p.String())
	}
	if !slices.Equal(nevras, []string{"hello-1.0-1.src", "hello-1.0-1.noarch"}) {
		t.Errorf("made %v", nevras)
	}
	logs := b.session.Logs()
	if len(logs) != 1 || filepath.Base(logs[0]) != "build.log" {
		t.Fatalf("logs %v", logs)
	}
	text, err := os.ReadFile(logs[0])
	testkit.Must(b.t, err)
	if !bytes.Equal(text, b.log.Bytes()) || bytes.Count(text, []byte("Child return code was: 0")) != 2 {
		t.Errorf("stored:\n%s\nlive:\n%s", text, &b.log)
	}
}

func TestQuery(t *testing.T) {
	b := newFixture(t, t.TempDir(), "Source1: %{name}-%{version}.tar.gz\nBuildRequires: nosuch-devel >= 2", good)
	for _, q := range []struct {
		args []string
		want string
	}{
		{[]string{"-P"}, "Source1: hello-1.0.tar.gz\n"},
		{[]string{"--define", "dist .a b", "-q", "--qf", "%{NAME} '%{VERSION}'\\n"}, "hello '1.0'\n"},
		{[]string{"-q", "--buildrequires"}, "nosuch-devel >= 2\n"},
	} {
		out, err := b.session.Query(t.Context(), b.spec, b.sources, q.args...)
		testkit.Must(b.t, err)
		if !bytes.Contains(out, []byte(q.want)) {
			t.Errorf("rpmspec %q: %s", q.args, out)
		}
	}
	endless := "Name: a\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\n%description\n%{lua:for i = 1, 300000 do " +
		"print(string.rep('x', 80) .. '\\n') end}\n"
	for spec, words := range map[string]string{"Name: hello\n%if 1\n": "%if", endless: "more than"} {
		testkit.Must(b.t, os.WriteFile(b.spec, []byte(spec), 0o600))
		_, err := b.session.Query(t.Context(), b.spec, b.sources, "-P")
		b.wantFailure(err, rpmflow.FailureSpec, words)
	}
}

func (b *fixture) wantFailure(err error, kind rpmflow.FailureKind, words ...string) {
	b.t.Helper()
	var f *rpmflow.Failure
	if !errors.As(err, &f) || f.Kind != kind || f.Hint == "" {
		b.t.Fatalf("%v (%+v), want a failure of kind %s\n%s", err, f, kind, &b.log)
	}
	for _, w := range words {
		if !strings.Contains(f.Message+"\n"+strings.Join(f.Excerpt, "\n"), w) {
			b.t.Errorf("%q with the excerpt %q does not say %q", f.Message, f.Excerpt, w)
		}
	}
}

func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		tags, rest string
		kind       rpmflow.FailureKind
		words      []string
	}{
		"syntax error": {"%if 1", good, rpmflow.FailureSpec, []string{"Unclosed %if"}},
		"no files":     {"Source1: missing.c", good, rpmflow.FailureSource, []string{"missing.c"}},
		"failing %build": {"", "%build\necho before\ncc nosuch.c 2>/dev/null || echo 'cc: nosuch.c not there'\nexit " +
			"3\n\n" +
			"%files\n", rpmflow.FailureBuild, []string{"(%build)", "cc: nosuch.c not there"}},
		"failing %check": {"", good + "\n%check\necho 'FAIL: 60 is needed by hello'; false\n", rpmflow.FailureBuild,
			[]string{"(%check)"}},
		"unpackaged files": {"", strings.TrimSuffix(good, "/usr/share/hello\n"), rpmflow.FailureBuild,
			[]string{"unpackaged",
				"/usr/share/hello/hello.txt"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFixture(t, t.TempDir(), test.tags, test.rest)
			_, err := b.build(t.Context())
			b.wantFailure(err, test.kind, test.words...)
			if len(b.session.Logs()) != 1 {
				t.Error("no build.log")
			}
		})
	}
}

// A package's code does not get the builder's environment, where secrets may be.
func TestEnvironment(t *testing.T) {
	t.Setenv("RPMFLOW_S3_SECRET_KEY", "hunter2")
	t.Setenv("HOME", "/home/of-the-builder")
	b := newFixture(t, t.TempDir(), "", "%build\nenv | sort >env.txt; echo BEGIN; cat env.txt; echo END\n\n%files\n")
	_, err := b.build(t.Context())
	testkit.Must(b.t, err)
	for _, secret := range []string{"hunter2", "of-the-builder", "RPMFLOW_"} {
		if strings.Contains(b.log.String(), secret) {
			t.Errorf("%%build sees %q:\n%s", secret, &b.log)
		}
	}
	if !strings.Contains(b.log.String(), "SOURCE_DATE_EPOCH=1706933106") {
		t.Errorf("no SOURCE_DATE_EPOCH:\n%s", &b.log)
	}
}

func TestSameBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "same")
	digests := func() (all []string) {
		b := newFixture(t, dir, "", good+"/usr/share/hello/*\n")
		files, err := b.build(t.Context())
		testkit.Must(b.t, err)
		for _, f := range files {
			content, err := os.ReadFile(f)
			testkit.Must(b.t, err)
			all = append(all, filepath.Base(f)+" "+rpmflow.Digest(content))
		}
		testkit.Must(b.t, os.RemoveAll(dir))
		return all
	}
	first := digests()
	time.Sleep(1100 * time.Millisecond) // the clock of file systems and headers has gone on by a second
	if second := digests(); !slices.Equal(first, second) {
		t.Errorf("%v, and then %v", first, second)
	}
}

func TestCancelKillsEverything(t *testing.T) {
	b := newFixture(t, t.TempDir(), "", "%build\n(setsid sh -c 'trap \"\" TERM; echo PID $$; sleep 600; true') &\n"+
		"sleep 600\n\n%files\n")
	out, in := io.Pipe()
	b.open(time.Unix(1706933106, 0), in)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		_, err := b.build(ctx)
		in.Close()
		done <- err
	}()
	pid := 0
	lines := bufio.NewScanner(out)
	for pid == 0 && lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "PID "); ok {
			for _, c := range rest {
				pid = pid*10 + int(c-'0')
			}
		}
	}
	why := errors.New("lost to another builder")
	cancel(why)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if err := testkit.Receive(t, "the build's end", done); !errors.Is(err, why) {
		t.Errorf("%v, want %v", err, why)
	}
	if err := unix.Kill(pid, 0); pid == 0 || !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d: %v", pid, err)
	}
	text, err := os.ReadFile(b.session.Logs()[0])
	testkit.Must(b.t, err)
	if strings.Count(string(text), "Child return code was:") != 1 { // of the SRPM
		t.Errorf("an interrupted build has a verdict:\n%s", text)
	}
}
