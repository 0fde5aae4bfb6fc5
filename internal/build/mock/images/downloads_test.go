package images

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocktest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newStore makes a store of an installation of its own on the local engine, and returns an image for containers.
func newStore(t *testing.T, packages int64) (*Store, string) {
	t.Helper()
	image := testkit.Standin(t)
	d, err := docker.New("", "")
	testkit.Must(t, err)
	s := New(d, Settings{Installation: "test-" + rand.Text(), Packages: packages,
		Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		s.Close()
		testkit.Must(t, d.Close())
		mocktest.Forget(t, s.s.Installation)
	})
	return s, image
}

// TestOldDownloadsGo: beyond the limit the oldest go first.
func TestOldDownloadsGo(t *testing.T) {
	t.Parallel()
	s, image := newStore(t, 3<<20)
	add := func(file string) {
		t.Helper()
		source := mocktest.Docker(t, "run", "-d", "-v", "/rpmflow/work", image, "sh", "-c",
			"mkdir -p /rpmflow/work/packages/a/dnf/r && head -c 2097152 /dev/zero "+
				">/rpmflow/work/packages/a/dnf/r/"+file)
		defer mocktest.Docker(t, "rm", "-fv", source)
		mocktest.Docker(t, "wait", source)
		testkit.Must(t, s.copyDownloads(t.Context(), source, image, "ours"))
	}
	add("one.rpm")
	add("two.rpm")
	if left := mocktest.Docker(t, "run", "--rm", "-v", s.volumeOf("ours")+":/v", image, "find", "/v", "-type",
		"f"); left != "/v/a/dnf/r/two.rpm" {
		t.Errorf("left: %q", left)
	}
}

// TestCloseDoesNotCollect: a builder that ends does not put downloads away first, which may take long; its containers
// are removed.
func TestCloseDoesNotCollect(t *testing.T) {
	t.Parallel()
	s, image := newStore(t, 1<<30)
	source := mocktest.Docker(t, "run", "-d", "-v", "/rpmflow/work", image, "sh", "-c",
		"mkdir -p /rpmflow/work/packages/a/dnf/r && echo x >/rpmflow/work/packages/a/dnf/r/x.rpm")
	mocktest.Docker(t, "wait", source)
	s.removals.end()
	s.removeAfter(source, func() { s.collect(source, image, "ours") })
	s.Close()
	if left := mocktest.Docker(t, "ps", "-aq", "--no-trunc", "--filter", "id="+source); left != "" {
		t.Errorf("container %s is left", left)
	}
	if volumes := mocktest.Docker(t, "volume", "ls", "-q", "--filter",
		"label="+LabelInstallation+"="+s.s.Installation); volumes != "" {
		t.Errorf("packages were put away: %s", volumes)
	}
}

func TestOnlyPackagesAreTaken(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "packages/", Typeflag: tar.TypeDir},
		{Name: "packages/root/dnf/r/a.rpm", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7},
		{Name: "packages/root/dnf/r/link.rpm", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "packages/root/dnf/r/device.rpm", Typeflag: tar.TypeChar},
		{Name: "packages/root/dnf/r/notes.txt", Typeflag: tar.TypeReg},
		{Name: "packages/root/dnf/b.rpm", Typeflag: tar.TypeReg},
		{Name: "packages/root/dnf/r/deep/c.rpm", Typeflag: tar.TypeReg},
		{Name: "packages/../../../../../d.rpm", Typeflag: tar.TypeReg},
		{Name: "packages/root/dnf/s/e.rpm", Typeflag: tar.TypeReg},
	} {
		testkit.Must(t, w.WriteHeader(h))
	}
	testkit.Must(t, w.Close())
	in := tar.NewReader(&b)
	first, err := nextPackage(in)
	testkit.Must(t, err)
	var out bytes.Buffer
	testkit.Must(t, copyPackages(&out, in, first))
	var names []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		testkit.Must(t, err)
		names = append(names, h.Name)
		if h.Mode != 0o644 || h.Uid != 0 {
			t.Errorf("%s has mode %o, owner %d", h.Name, h.Mode, h.Uid)
		}
	}
	if got := strings.Join(names, " "); got != "root/dnf/r/a.rpm root/dnf/s/e.rpm" {
		t.Errorf("taken: %s", got)
	}
}
