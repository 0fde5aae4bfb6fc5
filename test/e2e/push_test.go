package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rpm "github.com/sassoftware/go-rpmutils"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

func TestAPushBecomesPackagesLogAndEvent(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"mock", "rpmbuild"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			standardRepo, inTreeRepo := system.NewRepository(t), system.NewRepository(t)
			s := system.Start(t, engine, standardRepo.Project("greet-standard", ""),
				inTreeRepo.Project("greet.in-tree", "  tags: ['v*']\n"))
			standardRepo.Announce(t, s, "greet-standard")
			inTreeRepo.Announce(t, s, "greet.in-tree")

			t.Run("standard", func(t *testing.T) {
				answer := standardRepo.Push(t, standard(t))
				e := s.Finished(t)
				checkBuild(t, s, engine, standardRepo, e, rpmflow.LayoutStandard)
				if !strings.Contains(answer, e.Build.ID) { // in the URL
					t.Errorf("the push was answered without the build's id %s:\n%s", e.Build.ID, answer)
				}
			})
			t.Run("in-tree", func(t *testing.T) {
				inTreeRepo.Push(t, inTree())
				checkBuild(t, s, engine, inTreeRepo, s.Finished(t), rpmflow.LayoutInTree)
			})
			t.Run("annotated tag", func(t *testing.T) {
				system.Git(t, inTreeRepo.Tree, "tag", "-a", "-m", "Release", "v1.2")
				system.Git(t, inTreeRepo.Tree, "push", "origin", "v1.2")
				e := s.Finished(t)
				if e.Build.Ref != "refs/tags/v1.2" || e.Build.Commit != inTreeRepo.Head(t) ||
					e.Build.Outcome.Result != rpmflow.Succeeded {
					t.Errorf("built %s at %s: %+v", e.Build.Ref, e.Build.Commit, e.Build.Outcome)
				}
			})
			if engine == "mock" {
				system.NothingLeft(t, s)
			}
		})
	}
}

func checkBuild(t *testing.T, s *system.System, engine string, r *system.Repository, e events.Event,
	layout rpmflow.Layout) {
	t.Helper()
	b := e.Build
	if b.Outcome.Result != rpmflow.Succeeded {
		t.Fatalf("the build failed: %+v\n%s", *b.Outcome, system.FetchLog(t, s, b))
	}
	if b.Commit != r.Head(t) || b.Ref != "refs/heads/main" || b.Target != s.Target || b.Layout != layout ||
		b.Engine != engine || b.Attempt != 1 {
		t.Errorf("record: commit %s ref %s target %s layout %s engine %s attempt %d", b.Commit, b.Ref, b.Target,
			b.Layout,
			b.Engine, b.Attempt)
	}
	var phases []string
	for _, p := range b.Phases {
		if p.Seconds <= 0 {
			t.Errorf("phase %s has no duration", p.Phase)
		}
		phases = append(phases, string(p.Phase))
	}
	if got := strings.Join(phases, " "); got != "claim sources root srpm dependencies rpms upload" {
		t.Errorf("phases: %s", got)
	}
	var names []string
	for _, p := range b.Packages {
		if p.Epoch != 1 || p.Version != "1.2" || !strings.HasPrefix(p.Release, "3") {
			t.Errorf("package %s", p.NEVRA())
		}
		names = append(names, p.Name+"."+p.Arch)
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "greet-doc.noarch greet.src greet."+rpmflow.HostArch() {
		t.Errorf("packages: %s", got)
	}
	for _, a := range b.Artifacts {
		checkArtifact(t, s, b, a)
	}
	if log := system.FetchLog(t, s, b); !strings.Contains(log, "cc -o greet greet.c") {
		t.Errorf("build.log does not show the build:\n%s", log)
	}
	stored := system.Object(t, s, b.Prefix()+"build.json")
	var record rpmflow.Build
	if err := json.Unmarshal(stored, &record); err != nil || record.Outcome == nil ||
		len(record.Artifacts) != len(b.Artifacts) {
		t.Errorf("build.json: %v: %s", err, stored)
	}
}

// checkArtifact fetches an artifact as a user would, and looks into the packages.
func checkArtifact(t *testing.T, s *system.System, b rpmflow.Build, a rpmflow.Artifact) {
	t.Helper()
	res := system.Get(t, a.URL)
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	if int64(len(raw)) != a.Size || hex.EncodeToString(sum[:]) != a.SHA256 {
		t.Errorf("%s: %d bytes, sha256 %x; the record says %d, %s", a.Name, len(raw), sum, a.Size, a.SHA256)
	}
	if got := res.Header.Get("Content-Type"); got != a.ContentType {
		t.Errorf("%s: content type %q, the record says %q", a.Name, got, a.ContentType)
	}
	if !strings.HasPrefix(a.Key, b.Prefix()) {
		t.Errorf("%s is at %s", a.Name, a.Key)
	}
	if a.Kind != rpmflow.KindRPM {
		return
	}
	dir := t.TempDir()
	file := filepath.Join(dir, a.Name)
	testkit.Write(t, file, string(raw))
	info, err := exec.Command("rpm", "-qpi", file).CombinedOutput()
	if err != nil || !bytes.Contains(info, []byte("Epoch       : 1")) || !bytes.Contains(info,
		[]byte("License     : Apache-2.0")) {
		t.Errorf("rpm -qpi %s: %v: %s", a.Name, err, info)
	}
	unpacked := filepath.Join(dir, "unpacked")
	unpack(t, file, unpacked)
	if strings.HasSuffix(a.NEVRA, ".noarch") {
		interfaces := find(t, unpacked, "interfaces.txt")
		if b.Engine == "mock" && strings.TrimSpace(interfaces) != "lo" {
			t.Errorf("the package's code had a network: interfaces %q", interfaces)
		}
		return
	}
	if listed, err := exec.Command("rpm", "-qplv", file).CombinedOutput(); err != nil ||
		!bytes.HasPrefix(listed, []byte("-rwxr-xr-x")) {
		t.Errorf("rpm -qplv %s: %v: %s", a.Name, err, listed)
	}
	greet := filepath.Join(unpacked, "usr/bin/greet")
	if err := os.Chmod(greet, 0o700); err != nil { // the library that unpacks leaves modes alone
		t.Fatal(err)
	}
	if out, err := exec.Command(greet).CombinedOutput(); err != nil || string(out) != "greetings\n" {
		t.Errorf("the program in %s says %q: %v", a.Name, out, err)
	}
}

func unpack(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := rpm.ReadRpm(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ExpandPayload(dir); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, dir, name string) (content string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == name {
			raw, rerr := os.ReadFile(path)
			content, err = string(raw), rerr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}
