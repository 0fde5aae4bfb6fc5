package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func mirrorOf(t *testing.T, s *Mirrors, req Request) *mirror {
	t.Helper()
	r, err := parseRemote(req.URL)
	testkit.Must(t, err)
	return s.mirror(r, req)
}

// Unused mirrors, and those beyond the limit, are removed; those in use stay.
func TestMirrorsAreBounded(t *testing.T) {
	t.Parallel()
	s := newMirrors(t)
	var all []*mirror
	var works []*gittest.Repository
	var requests []Request
	for i := range 4 {
		w := gittest.At(t, filepath.Join(t.TempDir(), fmt.Sprint("w", i)))
		req := request(w, w.Commit(map[string]string{"data": strings.Repeat(rpmflow.Digest([]byte{byte(i)}), 3000)}))
		mustRead(t, s, req)
		all, works, requests = append(all, mirrorOf(t, s, req)), append(works, w), append(requests, req)
	}
	there := func() (list string) {
		for i, m := range all {
			if _, err := os.Stat(m.dir); err == nil {
				list += fmt.Sprint(i)
			}
		}
		return list
	}
	age := func(i int, by time.Duration) {
		at := time.Now().Add(-by)
		testkit.Must(t, os.Chtimes(lockOf(all[i].dir), at, at))
	}
	age(0, 40*time.Hour)
	age(1, 30*time.Hour)
	age(2, 20*time.Hour)
	s.sweep("")
	if got := there(); got != "0123" {
		t.Fatalf("without bounds: %s", got)
	}
	s.MaxAge = 35 * time.Hour
	s.sweep("")
	if got := there(); got != "123" {
		t.Errorf("by age: got %s", got)
	}
	_, total := s.list()
	s.MaxBytes = total - 1
	lock, err := all[1].lock(t.Context(), dirlock.Shared) // a reader of the oldest
	testkit.Must(t, err)
	testkit.Must(t, os.Mkdir(all[0].dir+discarded, 0o700)) // of a process that was killed while it removed this one
	s.sweep("")
	if got := there(); got != "13" {
		t.Errorf("by size, with a mirror in use: got %s", got)
	}
	if _, err := os.Stat(all[0].dir + discarded); err == nil {
		t.Error("remains of a removal are still there")
	}
	lock.Close()
	s.MaxBytes = 1
	requests[3].Commit = works[3].Commit(map[string]string{"x": "y"})
	mustRead(t, s, requests[3]) // sweeps, but not under its own feet
	if got := there(); got != "3" {
		t.Errorf("after a fetch: got %s", got)
	}
	s.MaxBytes, s.MaxAge = 0, 0
	mustRead(t, s, requests[0]) // and what is gone is fetched again
}

// A git that was killed leaves files that the next one would stumble over, or that only take room.
func TestMirrorAfterKill(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newMirrors(t)
	req := request(w, w.Commit(map[string]string{"data": "1"}))
	mustRead(t, s, req)
	m := mirrorOf(t, s, req)
	refs, err := filepath.Glob(filepath.Join(m.dir, "refs/rpmflow/pushed/*"))
	testkit.Must(t, err)
	if len(refs) != 1 {
		t.Fatalf("refs: %q", refs)
	}
	left := []string{
		"shallow.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "objects/pack/tmp_pack_x",
		"objects/pack/tmp_idx_x",
		"objects/pack/pack-1.keep",
	}
	for i, harm := range []func(){
		func() {
			for _, name := range left {
				testkit.Must(t, os.WriteFile(filepath.Join(m.dir, name), []byte("half"), 0o600))
			}
			testkit.Must(t, os.WriteFile(refs[0]+".lock", nil, 0o600))
		},
		func() { testkit.Must(t, os.WriteFile(refs[0], nil, 0o600)) },                     // a power cut
		func() { testkit.Must(t, os.WriteFile(refs[0], []byte(req.Commit[:17]), 0o600)) }, // half a ref
		// a ref to nothing
		func() { testkit.Must(t, os.WriteFile(refs[0], []byte(strings.Repeat("a", 40)), 0o600)) },
		func() { testkit.Must(t, os.WriteFile(filepath.Join(m.dir, "shallow"), []byte("x"), 0o600)) }, // half a list
		// killed while removing it
		func() { testkit.Must(t, os.Rename(m.dir, m.dir+discarded)) },
	} {
		harm()
		want := fmt.Sprint("new", i)
		req.Commit = w.Commit(map[string]string{"data": want})
		if got := mustRead(t, s, req); got != want {
			t.Errorf("%d: got %q", i, got)
		}
		for _, name := range append(left, "refs/rpmflow/pushed/"+filepath.Base(refs[0])+".lock") {
			if _, err := os.Stat(filepath.Join(m.dir, name)); err == nil {
				t.Errorf("%d: %s is still there", i, name)
			}
		}
	}
}

// If a process is killed during a fetch, git ends too, and until then no other process changes the mirror.
func TestKilledWhileFetching(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("RPMFLOW_TEST_FETCH"); dir != "" {
		s, err := Open(Options{Dir: dir, FetchTimeout: time.Minute})
		testkit.Must(t, err)
		_, err = read(
			s,
			Request{
				Project: "hello",
				URL:     os.Getenv("RPMFLOW_TEST_URL"),
				Ref:     "refs/heads/main",
				Commit:  strings.Repeat("b", 40),
			},
		)
		t.Fatal("came back with ", err)
	}
	s := newMirrors(t)
	url, asked, hangUp := silentServer(t)
	self, err := os.Executable()
	testkit.Must(t, err)
	cmd := exec.Command(self, "-test.run=^TestKilledWhileFetching$")
	cmd.Env = append(os.Environ(), "RPMFLOW_TEST_FETCH="+s.Dir, "RPMFLOW_TEST_URL="+url)
	testkit.Must(t, cmd.Start())
	select {
	case <-asked:
	case <-time.After(time.Minute):
		t.Error("git has not asked the server")
	}
	m := mirrorOf(t, s, Request{URL: url})
	if f, err := (stored{dir: m.dir}).lock(); err != nil || f != nil {
		t.Errorf("the mirror is not locked while it is fetched into: %v", err)
	}
	testkit.Must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	hangUp() // git's helper gets no signal and ends with the connection
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	lock, err := m.lock(ctx, dirlock.Exclusive)
	testkit.Must(t, err)
	lock.Close()
}

// A full disk is not damage: the mirror is not replaced, and works again when there is space.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	var noise strings.Builder
	for i := range 40000 {
		fmt.Fprint(&noise, rpmflow.Digest([]byte{byte(i), byte(i >> 8)}))
	}
	small := w.Commit(map[string]string{"data": "small"})
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount a small file system: what a full disk does goes untested: %v: %s", err, out)
	}
	t.Cleanup(func() { testkit.Must(t, exec.Command("umount", dir).Run()) })
	s, err := Open(Options{Dir: filepath.Join(dir, "mirrors"), FetchTimeout: time.Minute})
	testkit.Must(t, err)
	mustRead(t, s, request(w, small))
	m := mirrorOf(t, s, request(w, small))
	before, err := os.Stat(m.dir)
	testkit.Must(t, err)
	_, err = read(s, request(w, w.Commit(map[string]string{"data": noise.String()})))
	failtest.WantOther(t, err)
	if !strings.Contains(err.Error(), "No space left on device") {
		t.Errorf("got %v", err)
	}
	after, err := os.Stat(m.dir)
	testkit.Must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the mirror was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(m.dir, "objects/pack/tmp_*")); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
	mustRead(t, s, request(w, small))
	next := w.Commit(map[string]string{"data": "small again"})
	mustRead(t, s, request(w, next))
}

// Builds need the commit's tree. Its history is fetched only if it is asked for, and then with the tags.
func TestOnlyWhatIsNeeded(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		first := w.Commit(map[string]string{"data": "1"})
		second := w.Commit(map[string]string{"data": "2"})
		third := w.Commit(map[string]string{"data": "3"})
		s := newMirrors(t)
		count := func(req Request, rev string) string {
			out, err := gitcmd.Run(t.Context(), "--git-dir="+mirrorOf(t, s, req).dir, "rev-list", "--count", rev)
			testkit.Must(t, err)
			return strings.TrimSpace(string(out))
		}
		req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: third}
		mustRead(t, s, req)
		if got := count(req, third); got != "1" {
			t.Errorf("%s commits were fetched", got)
		}
		req.Commit = first // the ref has moved on: the commit is asked for by its id
		mustRead(t, s, req)
		if got := count(req, "--all"); got != "2" {
			t.Errorf("%s commits were fetched", got)
		}
		with := req
		with.Commit, with.History = second, true
		testkit.Must(t, s.Read(t.Context(), with, func(*Commit) error { return nil }))
		if got := count(with, second); got != "2" {
			t.Errorf("history: %s commits", got)
		}
		tags := func() string {
			out, err := gitcmd.Run(t.Context(), "--git-dir="+mirrorOf(t, s, with).dir, "tag", "--list")
			testkit.Must(t, err)
			return strings.Join(strings.Fields(string(out)), " ")
		}
		for _, tt := range []struct{ do, want string }{
			{"tag v1", "v1"}, {"tag v1/x", ""}, {"tag v2", "v1 v2"}, {"tag -d v1", "v2"}, {"tag v1/x", "v1/x v2"},
		} {
			if tt.want == "" {
				continue
			}
			w.Git(strings.Fields(tt.do)...)
			testkit.Must(t, s.Read(t.Context(), with, func(*Commit) error { return nil }))
			if got := tags(); got != tt.want {
				t.Errorf("after %s: tags %q, want %q", tt.do, got, tt.want)
			}
		}
		w.Git("branch", "-m", "main", "other") // the commit is there, its ref is not
		w.Git("tag", "v3")
		testkit.Must(t, s.Read(t.Context(), with, func(*Commit) error { return nil }))
		if got := tags(); got != "v1/x v2 v3" {
			t.Errorf("tags %q", got)
		}
	})
}

// A server that serves what refs point to and nothing else has the commit behind the ref's newest one.
func TestServerRefusesIDs(t *testing.T) {
	t.Parallel()
	r, err := parseRemote("/srv/a")
	testkit.Must(t, err)
	m := newMirrors(t).mirror(r, Request{})
	attempts := m.attempts("refs/heads/main", "c")
	if len(attempts) != 3 || attempts[2].options[0] != "--depth=2147483647" {
		t.Fatalf("got %v", attempts)
	}
	w, s := gittest.New(t), newMirrors(t)
	first := w.Commit(map[string]string{"data": "1"})
	second := w.Commit(map[string]string{"data": "2"})
	req := request(w, second)
	mustRead(t, s, req)
	m = mirrorOf(t, s, req)
	m.remote.with(Access{})
	testkit.Must(t, m.remote.fetch(t.Context(), m.dir, nil, attempts[2].options,
		"+refs/heads/main:refs/rpmflow/pushed/x"))
	repo, err := m.open()
	testkit.Must(t, err)
	if _, err := peel(repo, plumbing.NewHash(first)); err != nil {
		t.Errorf("the history is not there: %v", err)
	}
	for text, want := range map[string]error{
		"git: exit status 128: error: Server does not allow request for unadvertised object bbbb": errNoRef,
		"git: exit status 128: fatal: remote error: upload-pack: not our ref bbbb":                errNoRef,
		"git: exit status 128: fatal: couldn't find remote ref refs/heads/x":                      errNoRef,
		"git: exit status 128: fatal: repository 'https://example.org/a/' not found":              errNoRepository,
		"git: exit status 128: ERROR: Repository not found.":                                      errNoRepository,
		"fatal: could not read Username for 'https://example.org': terminal prompts disabled":     errRefused,
		"git@example.org: Permission denied (publickey).":                                         errRefused,
		"fatal: write error: No space left on device":                                             errOutside,
		"unable to access 'https://example.org/': The requested URL returned error: 403":          errRefused,
		"unable to access 'https://example.org/': The requested URL returned error: 502":          errOutside,
	} {
		if err := remoteError(errors.New(text)); !errors.Is(err, want) {
			t.Errorf("%s: got %v", text, err)
		}
	}
}
