package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/source"
)

const (
	bigFiles, bigCommits = 10_000, 3_000
	gitRounds            = 3
)

const bigSpec = "Name: big\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nSource0: " +
	"big-1.tar\n%description\nd\n%prep\n%setup\n%files\n"

// gitAlone compares fetching and archiving with the git command, on a repository that is the same on every machine.
func gitAlone(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "rpmflow-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	big := filepath.Join(dir, "big.git")
	if err := bigRepository(ctx, big); err != nil {
		return err
	}
	url, stop, err := serveGit(dir)
	if err != nil {
		return err
	}
	defer stop()
	out, err := exec.CommandContext(ctx, "git", "-C", big, "rev-parse", "main").Output()
	if err != nil {
		return err
	}
	commit := strings.TrimSpace(string(out))
	var ours, theirs gitFigures
	for i := range gitRounds { // in turns, so that the machine's moods are shared
		a, err := ourGit(ctx, filepath.Join(dir, fmt.Sprint("ours", i)), url+"/big.git", commit)
		if err != nil {
			return err
		}
		b, err := plainGit(ctx, filepath.Join(dir, fmt.Sprint("plain", i)), url+"/big.git", commit)
		if err != nil {
			return err
		}
		ours, theirs = ours.best(a, i), theirs.best(b, i)
	}
	fmt.Printf("git, %d files and %d commits over http on loopback, the best of %d rounds\n", bigFiles, bigCommits,
		gitRounds)
	fmt.Printf("  %-32s %8s %8s %7s\n", "", "rpmflow", "git", "ratio")
	row := func(what string, a, b float64, unit string) {
		fmt.Printf("  %-32s %6.2f %s %6.2f %s %6.2f\n", what, a, unit, b, unit, a/b)
	}
	row("fetch of one commit, depth 1", ours.Fetch, theirs.Fetch, "s")
	row("archive (tar)", ours.Archive, theirs.Archive, "s")
	row("peak memory of a process", float64(ours.Memory)/1024, float64(theirs.Memory)/1024, "M")
	return nil
}

// gitFigures are seconds, and KiB.
type gitFigures struct {
	Fetch, Archive float64
	Memory         int64
}

func (f gitFigures) best(g gitFigures, round int) gitFigures {
	if round == 0 {
		return g
	}
	return gitFigures{min(f.Fetch, g.Fetch), min(f.Archive, g.Archive), max(f.Memory, g.Memory)}
}

// ourGit runs this program again, so that what it takes of memory is the sources' alone.
func ourGit(ctx context.Context, dir, url, commit string) (f gitFigures, err error) {
	self, err := os.Executable()
	if err != nil {
		return f, err
	}
	cmd := exec.CommandContext(ctx, self, "-git-child", dir+" "+url+" "+commit)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return f, fmt.Errorf("the measured program: %w", err)
	}
	return f, json.Unmarshal(out, &f)
}

func gitChild(ctx context.Context, words []string, out io.Writer) error {
	if len(words) != 3 {
		return errors.New("git child: directory, URL and commit are wanted")
	}
	dir, url, commit := words[0], words[1], words[2]
	s, err := source.Open(source.Options{Dir: filepath.Join(dir, "mirrors"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var f gitFigures
	begun := time.Now()
	p, err := s.Prepare(ctx, source.Request{Project: "big", URL: url, Ref: "refs/heads/main", Commit: commit,
		Layout: rpmflow.LayoutInTree}, filepath.Join(dir, "out"))
	if err != nil {
		return err
	}
	f.Fetch = time.Since(begun).Seconds()
	begun = time.Now()
	if _, err := p.Complete(ctx, bigRPM{}); err != nil {
		return err
	}
	f.Archive = time.Since(begun).Seconds()
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return err
		}
		f.Memory = max(f.Memory, u.Maxrss)
	}
	return json.NewEncoder(out).Encode(f)
}

// bigRPM is an rpm that makes nothing of the big spec.
type bigRPM struct{}

func (bigRPM) Expand(context.Context, string, string) ([]byte, error) { return []byte(bigSpec), nil }
func (bigRPM) SRPM(context.Context, string, string) (string, error)   { return "", nil }
func (bigRPM) Restart(context.Context, string) error                  { return nil }

// plainGit does the same as a packager would.
func plainGit(ctx context.Context, dir, url, commit string) (f gitFigures, err error) {
	run := func(args ...string) (float64, error) {
		begun := time.Now()
		cmd := exec.CommandContext(ctx, "git", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("git %v: %w: %s", args, err, out)
		}
		if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			f.Memory = max(f.Memory, u.Maxrss)
		}
		return time.Since(begun).Seconds(), nil
	}
	if _, err := run("init", "--quiet", "--bare", dir); err != nil {
		return f, err
	}
	if f.Fetch, err = run("-C", dir, "fetch", "--quiet", "--depth=1", "--no-tags", url,
		"+refs/heads/main:refs/heads/main"); err != nil {
		return f, err
	}
	f.Archive, err = run("-C", dir, "archive", "--format=tar", "--prefix=big-1/",
		"--output="+filepath.Join(dir, "big-1.tar"), commit)
	return f, err
}

// bigRepository makes a repository whose every byte comes from one seed.
func bigRepository(ctx context.Context, dir string) error {
	if out, err := exec.CommandContext(ctx, "git", "init", "--quiet", "--bare", "--initial-branch=main",
		dir).CombinedOutput(); err != nil {
		return fmt.Errorf("git init: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, "git", "-C", dir, "fast-import", "--quiet")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	w := bufio.NewWriterSize(in, 1<<20)
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same repository each time
	file := func(k int) {
		text := make([]byte, 12_000)
		if k%20 == 0 { // as good as compressed
			text = make([]byte, 40_000)
			for i := range text {
				text[i] = byte(random.Uint32())
			}
		} else {
			for i := 0; i+8 <= len(text); i += 8 {
				copy(text[i:], fmt.Sprintf("w%06d ", random.IntN(5000)))
			}
		}
		fmt.Fprintf(w, "M 100644 inline d%02d/e%02d/f%05d.c\ndata %d\n%s\n", k%50, k%20, k, len(text), text)
	}
	for c := range bigCommits {
		fmt.Fprintf(w, "commit refs/heads/main\ncommitter a <a@b> %d +0000\ndata 1\nx\n", 1_700_000_000+60*c)
		if c == 0 {
			fmt.Fprintf(w, "M 100644 inline big.spec\ndata %d\n%s\n", len(bigSpec), bigSpec)
			for k := range bigFiles {
				file(k)
			}
			continue
		}
		for range 5 {
			file(1 + 20*random.IntN(bigFiles/20)) // text
		}
	}
	if err := errors.Join(w.Flush(), in.Close()); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	return cmd.Wait()
}

// serveGit serves the repositories of a directory as git's own http server does.
func serveGit(dir string) (url string, stop func(), err error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return "", nil, err
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &cgi.Handler{
		Path:   filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		Env:    []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"},
		Stderr: io.Discard,
	}}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(socket) }()
	return "http://" + socket.Addr().String(), func() { _ = server.Close(); <-ended }, nil
}
