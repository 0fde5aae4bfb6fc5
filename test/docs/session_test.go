package docs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// patience bounds one command of a document, and every wait for something that must happen.
const patience = 2 * time.Minute

// session is a reader who types what a document says: a directory with a checkout's cmd and examples in it, a
// repository where the documents have theirs, and an environment in which nothing of this machine is touched and every
// port is free.
type session struct {
	dir     string
	env     []string
	replace []string // what documents say, and what it is here
	running []*running
	tell    func(b block, output string) // what was printed; may be nil
}

func newSession(t *testing.T) *session {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "curl", "openssl", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	programs := system.Programs(t)
	s := &session{dir: t.TempDir()}
	checkout, err := filepath.Abs(root)
	testkit.Must(t, err)
	for _, part := range []string{"cmd", "examples"} {
		testkit.Must(t, os.Symlink(filepath.Join(checkout, part), filepath.Join(s.dir, part)))
	}
	s.env = []string{
		"PATH=" + programs + ":" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C.UTF-8", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=docs", "GIT_AUTHOR_EMAIL=docs@example.com", "GIT_COMMITTER_NAME=docs",
		"GIT_COMMITTER_EMAIL=docs@example.com",
		"RPMFLOW_BUILDER_ENGINE=rpmbuild", "RPMFLOW_BUILDER_ARCHS=x86_64", "RPMFLOW_BUILDER_POLL=500ms",
	}
	// there are no images here
	s.replace = []string{"/srv/git", filepath.Join(s.dir, "srv", "git"), "fedora-43-x86_64", "host"}
	s.script(t, block{file: "set-up", text: `mkdir -p /srv/git tree
git init --quiet --bare --initial-branch=main /srv/git/hello.git
cp -RL examples/hello/. tree
git -C tree init --quiet --initial-branch=main
git -C tree add --all
git -C tree commit --quiet --message 'The example'
git -C tree push --quiet /srv/git/hello.git main
`})
	return s
}

// text is what a block says with this machine's paths and ports.
func (s *session) text(b block) string { return strings.NewReplacer(s.replace...).Replace(b.text) }

// play goes through a document's blocks in their order. Configurations are written, commands run; those that never end
// run until the session does.
func (s *session) play(t *testing.T, file string) (ran int) {
	t.Helper()
	for _, b := range blocks(t, file) {
		switch {
		case b.info == "yaml" && strings.HasPrefix(b.text, "# rpmflow.yaml\n"):
			testkit.Must(t, os.WriteFile(filepath.Join(s.dir, "rpmflow.yaml"), []byte(s.text(b)), 0o600))
		case b.info == "go" && strings.HasPrefix(b.text, "package "):
			s.subscriber(t, b, compile(t, b))
			ran++
		case b.info == "python":
			if python, program := interpret(t, b); python != "" {
				s.subscriber(t, b, python, program)
				ran++
			}
		case b.info == "sh" && b.notRun == "":
			s.block(t, b)
			ran++
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	return ran
}

// block runs a block. Its last command may be one that never ends.
func (s *session) block(t *testing.T, b block) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(b.text), "\n")
	last := lines[len(lines)-1]
	for _, e := range endless {
		if last != e.command && !strings.HasPrefix(last, e.command+" ") {
			continue
		}
		before, after := b, b
		before.text, after.text = strings.Join(lines[:len(lines)-1], "\n"), last
		if before.text != "" {
			s.script(t, before)
		}
		r := s.start(t, after, "sh", "-euc", "exec "+s.text(after))
		e.ready(t, s, r)
		return
	}
	s.script(t, b)
}

// script runs commands that end.
func (s *session) script(t *testing.T, b block) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out testkit.Log
	cmd := lifeline.Supervised(ctx, "sh", "-euc", s.text(b))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, &out, &out
	err := cmd.Run()
	// A hook that fails does not fail the push.
	if err != nil || strings.Contains(out.String(), "was not announced") || strings.Contains(out.String(), `"error":`) {
		t.Fatalf("%s: %v\n%s\nprinted:\n%s%s", b, err, s.text(b), out.String(), s.logs())
	}
	if s.tell != nil {
		s.tell(b, out.String())
	}
}

// running is a command that never ends by itself.
type running struct {
	block
	cmd          *lifeline.Cmd
	out          testkit.Log
	subscriber   bool // it must print an event
	publications bool // what it waits for, in place of finished builds
}

// start starts a command that runs until the test ends. It must be running still by then.
func (s *session) start(t *testing.T, b block, name string, args ...string) *running {
	t.Helper()
	r := &running{block: b}
	r.cmd = lifeline.Supervised(context.WithoutCancel(t.Context()), name, args...)
	r.cmd.Dir, r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = s.dir, s.env, &r.out, &r.out
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	s.running = append(s.running, r)
	t.Cleanup(func() {
		select {
		case <-r.cmd.Ended():
			t.Errorf("%s: %s has ended by itself: %v\n%s", b, strings.TrimSpace(b.text), r.cmd.Wait(), r.out.String())
		default:
		}
		r.cmd.Stop(30 * time.Second)
		if t.Failed() {
			t.Logf("%s: %s\n%s", b, strings.TrimSpace(b.text), r.out.String())
		}
	})
	return r
}

// await waits until a command has printed something, or for another condition.
func (r *running) await(t *testing.T, what string, done func(printed string) bool) {
	t.Helper()
	testkit.EventuallyWithin(t, patience, r.String()+": "+what, func() bool {
		select {
		case <-r.cmd.Ended():
			t.Fatalf("%s: ended while it was waited for %s: %v", r.block, what, r.cmd.Wait())
		default:
		}
		return done(r.out.String())
	})
}

func (s *session) logs() string {
	var b strings.Builder
	for _, r := range s.running {
		fmt.Fprintf(&b, "\n%s: %s\n%s", r.block, strings.TrimSpace(r.text), r.out.String())
	}
	return b.String()
}
