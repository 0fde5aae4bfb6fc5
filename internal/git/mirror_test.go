package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

func TestMirrorDamaged(t *testing.T) {
	t.Parallel()
	each := func(mirror, pattern string, f func(name string) error) error {
		files, err := filepath.Glob(filepath.Join(mirror, pattern))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("no %s in the mirror: %w", pattern, err)
		}
		for _, name := range files {
			err = errors.Join(err, os.Chmod(name, 0o600), f(name))
		}
		return err
	}
	fill := func(text string) func(name string) error {
		return func(name string) error { return os.WriteFile(name, []byte(strings.Repeat(text, 4000)), 0o600) }
	}
	for name, harm := range map[string]func(mirror string) error{
		"no HEAD": func(m string) error { return os.Remove(filepath.Join(m, "HEAD")) },
		"empty":   func(m string) error { return errors.Join(os.RemoveAll(m), os.Mkdir(m, 0o700)) },
		"config": func(m string) error {
			return os.WriteFile(filepath.Join(m, "config"), []byte("[core\x00"),
				0o600)
		},
		"pack gone":    func(m string) error { return each(m, "objects/pack/*.pack", os.Remove) },
		"objects gone": func(m string) error { return os.RemoveAll(filepath.Join(m, "objects")) },
		"index gone":   func(m string) error { return each(m, "objects/pack/*.idx", os.Remove) },
		"pack cut": func(m string) error {
			return each(m, "objects/pack/*.pack", func(n string) error { return os.Truncate(n, 20) })
		},
		"pack cut late": func(m string) error {
			return each(m, "objects/pack/*.pack", func(n string) error { return os.Truncate(n, 4000) })
		},
		"pack empty": func(m string) error {
			return each(m, "objects/pack/*.pack", func(n string) error { return os.Truncate(n, 0) })
		},
		"pack garbage": func(m string) error {
			return each(m, "objects/pack/*.pack", fill("\xff\x00zz"))
		},
		"index garbage": func(m string) error {
			return each(m, "objects/pack/*.idx", fill("x"))
		},
		"index empty": func(m string) error {
			return each(m, "objects/pack/*.idx", func(n string) error { return os.Truncate(n, 0) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
				// Random enough not to be compressed, so that the blob spans the pack.
				var noise strings.Builder
				for i := range 4000 {
					fmt.Fprint(&noise, rpmflow.Digest([]byte{byte(i), byte(i >> 8)}))
				}
				first := w.Commit(map[string]string{"data": noise.String()})
				s := newMirrors(t)
				req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: first}
				mustRead(t, s, req)
				r, err := parseRemote(url)
				testkit.Must(t, err)
				mirror := filepath.Join(s.Dir, r.mirrorName())

				testkit.Must(t, harm(mirror))
				if mustRead(t, s, req) != noise.String() { // the commit that the mirror should have
					t.Error("wrong content")
				}
				testkit.Must(t, harm(mirror))
				req.Commit = w.Commit(map[string]string{"data": "2"})
				if got := mustRead(t, s, req); got != "2" {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

func TestReadConcurrently(t *testing.T) {
	t.Parallel()
	gittest.Transports(t, func(t *testing.T, w *gittest.Repository, url string) {
		commits := []string{w.Commit(map[string]string{"data": "0"})}
		for i := 1; i < 4; i++ {
			w.Git("checkout", "--quiet", "-b", fmt.Sprint("b", i), commits[0])
			commits = append(commits, w.Commit(map[string]string{"data": fmt.Sprint(i)}))
		}
		shared := t.TempDir()
		var wait sync.WaitGroup
		for n := range 12 {
			s, err := Open(Options{Dir: shared}) // as if it were another process: locks are by open file
			testkit.Must(t, err)
			i := n % 4
			wait.Go(func() {
				ref := fmt.Sprint("refs/heads/b", i)
				if i == 0 {
					ref = "refs/heads/main"
				}
				got, err := read(s, Request{Project: "hello", URL: url, Ref: ref, Commit: commits[i]})
				if err != nil || got != fmt.Sprint(i) {
					t.Errorf("got %q, %v; want %d", got, err, i)
				}
			})
		}
		wait.Wait()
	})
}

func TestLockIsBounded(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newMirrors(t)
	req := request(w, w.Commit(map[string]string{"data": "T"}))
	mustRead(t, s, req)
	r, err := parseRemote(req.URL)
	testkit.Must(t, err)
	m := &mirror{Mirrors: s, remote: r, dir: filepath.Join(s.Dir, r.mirrorName())}
	lock, err := m.lock(t.Context(), dirlock.Exclusive)
	testkit.Must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = s.Read(ctx, req, func(*Commit) error { return nil })
	failtest.WantOther(t, err)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	s.FetchTimeout = 20 * time.Millisecond
	_, err = read(s, req)
	failtest.WantOther(t, err)
	if !strings.Contains(err.Error(), "another builder") {
		t.Errorf("got %v", err)
	}
	lock.Close()
	mustRead(t, s, req)
}

func TestPacksAreRolledUp(t *testing.T) {
	t.Parallel()
	w, s := gittest.New(t), newMirrors(t)
	var first, last string
	for i := range manyPacks + 3 {
		last = w.Commit(map[string]string{"data": fmt.Sprint(i)})
		if first == "" {
			first = last
		}
		mustRead(t, s, request(w, last))
	}
	packs, err := filepath.Glob(filepath.Join(s.Dir, "*.git", "objects", "pack", "*.pack"))
	testkit.Must(t, err)
	if len(packs) > manyPacks/2 {
		t.Errorf("%d packs", len(packs))
	}
	testkit.Must(t, os.Rename(w.Dir, w.Dir+"-away"))
	for commit, want := range map[string]string{first: "0", last: fmt.Sprint(manyPacks + 2)} {
		if got := mustRead(t, s, request(w, commit)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
