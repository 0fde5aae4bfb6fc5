package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow"
	eventschema "github.com/rpmflow/rpmflow/docs/events"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/events/natsserver"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	storagetest.Main()
	goleak.VerifyTestMain(m)
}

// signer is made once.
var signer = sync.OnceValues(newSigner)

func newSigner() (*sign.Signer, error) {
	private, _, err := sign.Generate(sign.Ed25519, "test", "")
	if err != nil {
		return nil, err
	}
	key, err := sign.ParseKey(private)
	if err != nil {
		return nil, err
	}
	return sign.NewSigner(key)
}

// system is what a publisher needs.
type system struct {
	store  *storage.Store
	js     jetstream.JetStream
	ledger *events.Ledger
}

func start(t *testing.T) *system {
	t.Helper()
	server := testkit.Value(natsserver.Start(natsserver.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0",
		Logger: slog.New(slog.DiscardHandler)}))(t)
	t.Cleanup(server.Close)
	s := &system{}
	listener, _, err := events.Connect(t.Context(), events.Access{URL: server.URL()}, slog.New(slog.DiscardHandler))
	testkit.Must(t, err)
	listener.Close() // it has made the streams
	nc, js, err := events.AttachPublisher(t.Context(), events.Access{URL: server.URL()}, slog.New(slog.DiscardHandler))
	testkit.Must(t, err)
	t.Cleanup(nc.Close)
	s.js = js
	s.ledger = testkit.Value(events.NewLedger(t.Context(), js))(t)
	s.store = testkit.Value(storage.Open(storagetest.Start(t)))(t)
	t.Cleanup(s.store.Close)
	return s
}

// rpms builds a package of this version, and returns its files.
func rpms(t *testing.T, name, version string) []string {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skipf("needs rpmbuild: %v", err)
	}
	dir := t.TempDir()
	spec := filepath.Join(dir, name+".spec")
	testkit.Write(t, spec, fmt.Sprintf("Name: %s\nVersion: %s\nRelease: 1\nSummary: s\nLicense: MIT\n"+
		"BuildArch: noarch\n"+
		"%%description\nd\n%%install\ninstall -D -m 644 /dev/null %%{buildroot}/usr/share/%s\n%%files\n/usr/share/%s\n",
		name, version, name, name))
	out, err := exec.Command("rpmbuild", "-ba", "--define", "_topdir "+dir, "--define",
		"_rpmfilename %%{NAME}-%%{VERSION}-1.%%{ARCH}.rpm", spec).CombinedOutput()
	if err != nil {
		t.Fatalf("rpmbuild: %v: %s", err, out)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*RPMS", "*.rpm"))
	return files
}

// finish stores the files as those of a build that has succeeded, and announces it.
func (s *system) finish(t *testing.T, id string, files ...string) rpmflow.Build {
	t.Helper()
	return s.finishAs(t, id, nil, files...)
}

// finishAs announces another record than the true one.
func (s *system) finishAs(t *testing.T, id string, change func(*rpmflow.Build), files ...string) rpmflow.Build {
	t.Helper()
	now := time.Now().UTC()
	b := rpmflow.Build{State: rpmflow.Finished, Attempt: 1}
	b.ID, b.Project, b.Package, b.Target, b.Arch = rpmflow.DeriveID(id), "demo", "demo", "fedora-43-x86_64", "x86_64"
	b.FinishedAt, b.Outcome = &now, &rpmflow.Outcome{Result: rpmflow.Succeeded}
	for _, file := range files {
		kind := rpmflow.KindRPM
		if strings.HasSuffix(file, ".src.rpm") {
			kind = rpmflow.KindSRPM
		}
		a := testkit.Value(s.store.PutFile(t.Context(), b.Prefix()+filepath.Base(file), file, kind))(t)
		a.NEVRA = strings.TrimSuffix(a.Name, ".rpm")
		b.Artifacts = append(b.Artifacts, a)
	}
	if change != nil {
		change(&b)
	}
	testkit.Must(t, s.store.PutJSON(t.Context(), b.Prefix()+"build.json", b))
	_, err := s.ledger.Append(t.Context(), events.TypeFinished, b, 0)
	testkit.Must(t, err)
	return b
}

func (s *system) options(t *testing.T) publisher.Options {
	t.Helper()
	return publisher.Options{Store: s.store, JS: s.js, Signer: testkit.Value(signer())(t),
		URL: "http://packages.example.com",
		Dir: t.TempDir(), Jobs: 2, Rules: func(string) rpmflow.Publish { return rpmflow.Publish{On: true} },
		Log: slog.New(slog.DiscardHandler)}
}

// run runs a publisher until the test ends, or the returned function is called.
func run(t *testing.T, o publisher.Options) (p *publisher.Publisher, stop func()) {
	t.Helper()
	p = testkit.Value(publisher.New(o))(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("publisher: %v", err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

// published waits until a publication has this many packages, and returns it.
func (s *system) published(t *testing.T, revision int64) (pub events.Publication) {
	t.Helper()
	testkit.Until(t, func() error {
		var err error
		pub, _, err = events.NewPublications(s.js).Last(t.Context(), "demo", "fedora-43-x86_64")
		if err != nil {
			return err
		}
		if newest(pub) >= revision {
			stream := testkit.Value(s.js.Stream(t.Context(), events.StreamPublished))(t)
			msg := testkit.Value(stream.GetLastMsgForSubject(t.Context(), "rpmflow.published.demo.fedora-43-x86_64"))(t)
			return eventschema.Validate(msg.Data)
		}
		return fmt.Errorf("published: %+v", pub)
	})
	return pub
}

var binary = publisher.Place{Project: "demo", Target: "fedora-43-x86_64"}

// valid checks everything that repositories name, but for the objects that may be wrong. Unused objects are what a
// killed publisher leaves.
func valid(t *testing.T, p *publisher.Publisher, kind publisher.Kind, but ...string) {
	t.Helper()
	place := binary
	place.Kind = kind
	for _, f := range testkit.Value(p.Verify(t.Context(), place))(t).Findings {
		is := func(name string) bool { return strings.HasSuffix(f.Key, "x86_64/"+name) }
		if !f.Unused && !slices.ContainsFunc(but, is) {
			t.Errorf("%s: %s", f.Key, f.Wrong)
		}
	}
}

func TestBuildsArePublished(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.finish(t, "before", rpms(t, "hello", "1")...) // the publisher comes later
	o := s.options(t)
	var log testkit.Log
	o.Log = log.Logger()
	p, _ := run(t, o)
	first := s.published(t, 1)
	log.Until(t, "revision=1 added=1 removed=0")
	if len(first.Refused) > 0 || len(first.Repositories) != 2 {
		t.Errorf("published: %+v", first)
	}
	valid(t, p, publisher.Binary)
	valid(t, p, publisher.Source)
	names := func(kinds ...string) { // zypper stops at a repository that is not there
		t.Helper()
		var want []string
		for _, kind := range kinds {
			want = append(want, "mirrorlist=http://packages.example.com/demo/fedora-43-x86_64/"+kind+"mirrorlist")
		}
		got := slices.DeleteFunc(strings.Split(s.repoFile(t), "\n"), func(line string) bool {
			return !strings.HasPrefix(line, "mirrorlist=")
		})
		if !slices.Equal(got, want) {
			t.Errorf("the .repo file has %v, want %v", got, want)
		}
	}
	names("", "source/")
	s.finish(t, "next", rpms(t, "world", "1")...)
	second := s.published(t, 2)
	for _, r := range second.Repositories {
		if len(r.Added) != 1 || !strings.HasPrefix(r.Added[0].NEVRA, "world-") || len(r.Removed) != 0 {
			t.Errorf("the second publication of %q: %+v", r.Kind, r)
		}
	}
	valid(t, p, publisher.Binary)
	valid(t, p, publisher.Source)
	debug := binaries(rpms(t, "hello-debuginfo", "1"))
	s.finish(t, "debuginfo", debug...)
	testkit.Until(t, func() error {
		pub, _, err := events.NewPublications(s.js).Last(t.Context(), "demo", "fedora-43-x86_64")
		if err == nil && len(pub.Repositories) != 3 {
			err = fmt.Errorf("published: %+v", pub)
		}
		return err
	})
	names("", "debuginfo/", "source/")
}

// TestKilledAnywhere ends a publisher before each kind of write. Clients see one whole revision all the time, and the
// next publisher publishes what is missing.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	errKilled := errors.New("killed")
	s := start(t)
	s.finish(t, "first", binaries(rpms(t, "hello", "1"))...)
	var steps []string
	url := s.serve(t)
	o := s.options(t)
	o.URL = url
	o.Step = func(what string) error {
		if !slices.Contains(steps, what) {
			steps = append(steps, what)
		}
		return nil
	}
	_, stop := run(t, o)
	revision := newest(s.published(t, 1))
	stop()
	if len(steps) < 8 {
		t.Fatalf("steps: %v", steps)
	}
	for n, step := range steps {
		build := s.finish(t, step, binaries(rpms(t, "world", fmt.Sprint(n)))...)
		killed := make(chan struct{})
		kill := sync.OnceFunc(func() { close(killed) })
		o := s.options(t)
		o.URL = url
		o.Step = func(what string) error {
			if what == step {
				kill()
			}
			select {
			case <-killed:
				return errKilled
			default:
				return nil
			}
		}
		p, stop := run(t, o)
		<-killed
		stop()
		// The former revision is as good as the new one. Clients of the directory itself have to wait.
		valid(t, p, publisher.Binary, "mirrorlist", "repodata/repomd.xml.asc")
		if out, err := testkit.Install(t, "dnf", s.repoFile(t), "hello"); err != nil {
			t.Errorf("killed before %s: %v\n%s", step, err, out)
		}
		o = s.options(t)
		o.URL = url
		p, stop = run(t, o)
		pub := s.published(t, revision+1)
		stop()
		if !holds(pub, build.ID) {
			t.Errorf("killed before %s: the publication is %+v", step, pub)
		}
		revision = newest(pub)
		valid(t, p, publisher.Binary)
	}
}

func newest(pub events.Publication) int64 {
	for _, r := range pub.Repositories {
		if r.Kind == "" {
			return r.Revision
		}
	}
	return 0
}

func binaries(files []string) []string {
	return slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".src.rpm") })
}

func holds(pub events.Publication, build string) bool {
	for _, r := range pub.Repositories {
		for _, a := range r.Added {
			if r.Kind == "" && a.Build == build {
				return true
			}
		}
	}
	return false
}
