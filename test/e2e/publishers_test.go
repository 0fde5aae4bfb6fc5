package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// TestInstallsWhilePublishersDie has three publishers publish 50 builds. Again and again one of them is killed, and
// another is started. Meanwhile dnf and zypper install into empty roots, in a loop, with the signatures of the
// repository and of its packages checked. None fails, and at the end every build is published.
func TestInstallsWhilePublishersDie(t *testing.T) {
	t.Parallel()
	const builds, kills = 50, 5
	files := subpackages(t, builds)
	s := startWithoutBuilders(t)
	var publishers []*process
	publish := func() {
		n := len(publishers)
		publishers = append(publishers, run(t, s.dir, nil, "publisher", "--data-dir",
			filepath.Join(s.dir, fmt.Sprint("p", n))))
	}
	for range 3 {
		publish()
	}
	s.finish(t, files[0])
	repoFile := s.repoFile(t)

	var over atomic.Bool
	var clients sync.WaitGroup
	for _, program := range testkit.Installers() {
		if _, err := exec.LookPath(program); err != nil {
			t.Errorf("needs %s: %v", program, err)
			continue
		}
		clients.Go(func() {
			for n := 0; ; n++ {
				out, err := testkit.Install(t, program, repoFile, "p00")
				if err != nil {
					t.Errorf("installation %d with %s: %v\n%s", n, program, err, out)
				}
				if over.Load() || err != nil {
					t.Logf("%d installations with %s", n, program)
					return
				}
			}
		})
	}
	const pace = 200 * time.Millisecond // enough for a publication, so that there are many
	builder := time.NewTicker(pace)
	defer builder.Stop()
	for n, file := range files[1:] {
		<-builder.C
		s.finish(t, file)
		if n%(builds/kills) == builds/kills/2 {
			publishers[n%3].end(t, syscall.SIGKILL)
			publish()
			publishers[n%3] = publishers[len(publishers)-1]
		}
	}
	// What a killed publisher had taken is given to another after events.PublisherWait.
	testkit.UntilWithin(t, system.Patience, func() error {
		out, err := testkit.Install(t, "dnf", repoFile, "p*")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return missing(out, builds)
	})
	over.Store(true)
	clients.Wait()
	client(t, s.dir, "repo", "verify", "demo", "host") // its exit code is 1 if anything is wrong
}

func missing(out string, builds int) error {
	for n := range builds {
		if name := fmt.Sprintf("p%02d-1-1.noarch", n); !strings.Contains(out, name) {
			return fmt.Errorf("%s is not installed: %s", name, out)
		}
	}
	return nil
}

// withoutBuilders is a NATS, an S3 and a listener, and what builders would write.
type withoutBuilders struct {
	dir, url string
	store    *storage.Store
	ledger   *events.Ledger
}

func startWithoutBuilders(t *testing.T) *withoutBuilders {
	t.Helper()
	natsPort, port := system.FreePort(t), system.FreePort(t)
	startNATS(t, natsPort)
	s3 := storagetest.Start(t)
	s := &withoutBuilders{dir: t.TempDir(), url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	private, _, err := sign.Generate(sign.Ed25519, "test", "")
	testkit.Must(t, err)
	testkit.Must(t, os.WriteFile(filepath.Join(s.dir, "key.asc"), private, 0o600))
	testkit.Write(t, filepath.Join(s.dir, "rpmflow.yaml"), fmt.Sprintf("public_url: %s\nnats:\n"+
		"  url: nats://127.0.0.1:%d\ns3:\n  endpoint: %s\n  bucket: %s\n  access_key: %s\n  secret_key: %s\n"+
		"listener:\n  listen: 127.0.0.1:%d\npublisher:\n  status_listen: ''\n  signing_key_file: key.asc\n"+
		"targets:\n- name: host\nprojects:\n- name: demo\n  url: /srv/git/demo.git\n", s.url, natsPort, s3.Endpoint,
		s3.Bucket, s3.AccessKey, s3.SecretKey, port))
	run(t, s.dir, nil, "listener", "--data-dir", filepath.Join(s.dir, "l"))
	testkit.Eventually(t, "the listener", func() bool {
		cmd := exec.Command(program(t, "rpmflow"), "health")
		cmd.Dir = s.dir
		return cmd.Run() == nil
	})
	nc, js, err := events.Dial(events.Access{URL: fmt.Sprintf("nats://127.0.0.1:%d", natsPort)}, system.Quiet())
	testkit.Must(t, err)
	t.Cleanup(nc.Close)
	s.ledger = testkit.Value(events.NewLedger(t.Context(), js))(t)
	s.store = testkit.Value(storage.Open(s3))(t)
	t.Cleanup(s.store.Close)
	return s
}

// finish stores a package, and announces it as a builder does.
func (s *withoutBuilders) finish(t *testing.T, file string) {
	t.Helper()
	now := time.Now().UTC()
	b := rpmflow.Build{State: rpmflow.Finished, Attempt: 1}
	b.ID, b.Project, b.Package, b.Target = rpmflow.DeriveID(file), "demo", filepath.Base(file), "host"
	b.Arch, b.FinishedAt, b.Outcome = rpmflow.HostArch(), &now, &rpmflow.Outcome{Result: rpmflow.Succeeded}
	a := testkit.Value(s.store.PutFile(t.Context(), b.Prefix()+filepath.Base(file), file, rpmflow.KindRPM))(t)
	a.NEVRA = strings.TrimSuffix(a.Name, ".rpm")
	b.Artifacts = []rpmflow.Artifact{a}
	testkit.Must(t, s.store.PutJSON(t.Context(), b.Prefix()+"build.json", b))
	_, err := s.ledger.Append(t.Context(), events.TypeFinished, b, 0)
	testkit.Must(t, err)
}

// repoFile waits for the first publication, and returns what users download.
func (s *withoutBuilders) repoFile(t *testing.T) (text string) {
	t.Helper()
	url := s.url + "/repos/demo/host/demo.repo"
	testkit.Eventually(t, url, func() bool {
		res, err := http.Get(url)
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	})
	raw := testkit.Value(io.ReadAll(system.Get(t, url).Body))(t)
	return string(raw)
}

// subpackages builds so many packages, p00 and so on.
func subpackages(t *testing.T, count int) []string {
	t.Helper()
	system.NeedRPM(t)
	dir := t.TempDir()
	text := "Name: many\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%description\nd\n"
	for n := range count {
		text += fmt.Sprintf("%%package -n p%02[1]d\nSummary: s\n%%description -n p%02[1]d\nd\n%%files -n p%02[1]d\n", n)
	}
	spec := testkit.Write(t, filepath.Join(dir, "many.spec"), text)
	out, err := exec.Command("rpmbuild", "-bb", "--define", "_topdir "+dir, spec).CombinedOutput()
	files, _ := filepath.Glob(filepath.Join(dir, "RPMS", "noarch", "*.rpm"))
	if err != nil || len(files) != count {
		t.Fatalf("rpmbuild: %v: %s", err, out)
	}
	return files
}
