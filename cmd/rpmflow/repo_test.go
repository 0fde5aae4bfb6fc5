package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

const target = "fedora-43-x86_64"

// operator runs `rpmflow repo` against a storage, without NATS.
type operator struct {
	env    []string
	config string
	store  *storage.Store
}

func newOperator(t *testing.T, projects ...string) *operator {
	t.Helper()
	cfg := storagetest.Start(t)
	var config strings.Builder
	config.WriteString("targets:\n  - name: " + target + "\nprojects:\n")
	for _, project := range projects {
		config.WriteString("  - name: " + project + "\n    url: https://git.example.com/x.git\n    targets: [" +
			target + "]\n")
	}
	private, _, err := sign.Generate(sign.Ed25519, "test", "")
	testkit.Must(t, err)
	o := &operator{store: testkit.Value(storage.Open(cfg))(t)}
	o.config = testkit.Write(t, filepath.Join(t.TempDir(), "rpmflow.yaml"), config.String())
	t.Cleanup(o.store.Close)
	o.env = []string{
		asProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "RPMFLOW_DATA_DIR=" + t.TempDir(),
		"RPMFLOW_S3_ENDPOINT=" + cfg.Endpoint, "RPMFLOW_S3_BUCKET=" + cfg.Bucket, "RPMFLOW_S3_REGION=" + cfg.Region,
		"RPMFLOW_S3_ACCESS_KEY=" + cfg.AccessKey, "RPMFLOW_S3_SECRET_KEY=" + cfg.SecretKey,
		"RPMFLOW_NATS_URL=nats://127.0.0.1:1", "RPMFLOW_PUBLISHER_SIGNING_KEY=" + string(private),
		"RPMFLOW_PUBLISHER_URL=http://packages.example.com",
	}
	return o
}

// repo runs a command, and returns what it prints and its exit code.
func (o *operator) repo(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, log strings.Builder
	args = append([]string{"repo", "--config", o.config}, args...)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = t.TempDir(), o.env, &out, &log
	_ = cmd.Run() // the exit code says it
	return out.String(), log.String(), cmd.ProcessState.ExitCode()
}

// built stores a build that has made one package.
func (o *operator) built(t *testing.T, project string) {
	t.Helper()
	dir := t.TempDir()
	spec := testkit.Write(t, filepath.Join(dir, "hello.spec"), "Name: hello\nVersion: 1\nRelease: 1\nSummary: s\n"+
		"License: MIT\nBuildArch: noarch\n%description\nd\n%files\n")
	if out, err := exec.CommandContext(t.Context(), "rpmbuild", "-bb", "--define", "_topdir "+dir, "--define",
		"_rpmfilename %%{NAME}-1-1.%%{ARCH}.rpm", spec).CombinedOutput(); err != nil {
		t.Fatalf("rpmbuild: %v: %s", err, out)
	}
	now := time.Now().UTC()
	b := rpmflow.Build{State: rpmflow.Finished, Attempt: 1}
	b.ID, b.Project, b.Package, b.Target, b.Arch = rpmflow.DeriveID(project), project, "hello", target, "x86_64"
	b.FinishedAt, b.Outcome = &now, &rpmflow.Outcome{Result: rpmflow.Succeeded}
	file := filepath.Join(dir, "RPMS", "hello-1-1.noarch.rpm")
	a := testkit.Value(o.store.PutFile(t.Context(), b.Prefix()+filepath.Base(file), file, rpmflow.KindRPM))(t)
	a.NEVRA = "hello-1-1.noarch"
	b.Artifacts = []rpmflow.Artifact{a}
	testkit.Must(t, o.store.PutJSON(t.Context(), b.Prefix()+"build.json", b))
}

// TestRepoCommandsOfDamagedRepositories has a repository that is right, one whose state is damaged, and one without.
func TestRepoCommandsOfDamagedRepositories(t *testing.T) {
	t.Parallel()
	needTools(t)
	projects := []string{"good", "damaged", "lost"}
	o := newOperator(t, projects...)
	says := func(code int, want []string, args ...string) {
		t.Helper()
		stdout, stderr, got := o.repo(t, args...)
		for _, w := range want {
			if !strings.Contains(stdout+stderr, w) {
				t.Errorf("%v does not say %q", args, w)
			}
		}
		if got != code || t.Failed() {
			t.Fatalf("%v: exit code %d\n%s\n%s", args, got, stdout, stderr)
		}
	}
	for _, project := range projects {
		o.built(t, project)
		says(0, []string{"clients see revision 1 of 1"}, "rebuild", project, target)
	}
	says(0, []string{"objects, all right"}, "verify", "good", target)
	repos := o.store.Repositories()
	state := "repos/damaged/" + target + "/state.zst"
	_, version, err := repos.Read(t.Context(), state, 1<<20)
	testkit.Must(t, err)
	testkit.Value(repos.Replace(t.Context(), state, []byte("x"), version, storage.Headers{}))(t)
	testkit.Must(t, repos.Remove(t.Context(), "repos/lost/"+target+"/state.zst"))

	says(1, []string{"packages.example.com/good/" + target, "damaged", "rpmflow repo rebuild damaged " + target,
		"rpmflow repo rebuild lost " + target}, "list")
	says(1, []string{`"project": "good"`, `"error": "repository damaged/` + target}, "list", "--json")
	says(1, []string{"it is missing", "rpmflow repo rebuild lost " + target}, "show", "lost", target)
	for _, project := range []string{"damaged", "lost"} {
		says(0, []string{"clients see revision 2 of 2", "older revisions found: 1"}, "rebuild", project, target)
		says(0, []string{"objects, all right"}, "verify", project, target)
	}
	for object, err := range repos.List(t.Context(), "repos/good/"+target+"/Packages/") {
		testkit.Must(t, err)
		testkit.Must(t, repos.Remove(t.Context(), object.Key))
	}
	says(1, []string{"1 of 1", "it is missing", "rpmflow repo rebuild good " + target}, "verify", "good", target)
	for object, err := range repos.List(t.Context(), "builds/good/") {
		testkit.Must(t, err)
		testkit.Must(t, repos.Remove(t.Context(), object.Key))
	}
	says(1, []string{"lost: package hello-1-1.noarch", "1 packages or revisions are lost"}, "rebuild", "good", target)
	says(0, []string{"packages.example.com/lost/"}, "list")
}
