package lifeline

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/testkit"
)

// envParent makes the test binary a parent that starts one child and waits to be killed; its value is a shell script
// for Supervised, or the name of an in-binary child.
const envParent = "LIFELINE_TEST_PARENT"

func TestMain(m *testing.M) {
	Main(map[string]Func{
		"echo": func(_ context.Context, args []string) error {
			in, err := io.ReadAll(os.Stdin)
			fmt.Printf("%s|%s|%s", strings.Join(args, ","), in, strings.Join(os.Environ(), ","))
			return err
		},
		"fail": func(context.Context, []string) error { return errors.New("no luck today") },
		"code": func(context.Context, []string) error { return &ExitError{Code: 98, Err: errors.New("busy")} },
		"patient": func(ctx context.Context, _ []string) error {
			fmt.Println(os.Getpid())
			<-ctx.Done()
			return nil
		},
		"stubborn": func(context.Context, []string) error {
			left := exec.Command("setsid", "sleep", "1000")
			if err := left.Start(); err != nil {
				return err
			}
			fmt.Println(os.Getpid(), left.Process.Pid)
			select {}
		},
	})
	if what := os.Getenv(envParent); what != "" {
		parent(what)
	}
	goleak.VerifyTestMain(m)
}

func parent(what string) {
	c := Command(context.Background(), what)
	if strings.Contains(what, " ") {
		c = Supervised(context.Background(), "sh", "-c", what)
	}
	c.Env, c.Stdout, c.Stderr = []string{"PATH=" + os.Getenv("PATH")}, os.Stdout, os.Stderr
	err := c.Run()
	fmt.Fprintln(os.Stderr, "the child ended first:", err)
	os.Exit(1)
}

func sh(t *testing.T, ctx context.Context, script string) *Cmd {
	t.Helper()
	c := Supervised(ctx, "sh", "-c", script)
	c.Env = []string{"PATH=" + os.Getenv("PATH")}
	return c
}

// pids reads a line of process ids.
func pids(t *testing.T, line string) []int {
	t.Helper()
	var list []int
	for _, f := range strings.Fields(line) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatalf("%q is not a list of process ids: %v", line, err)
		}
		list = append(list, pid)
	}
	return list
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	p, ok := parseStat(pid, stat)
	return ok && !p.dead
}

func wantDead(t *testing.T, list ...int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for _, pid := range list {
		for alive(pid) {
			if time.Now().After(deadline) {
				cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				t.Errorf("process %d still runs: %q", pid, cmdline)
				_ = unix.Kill(pid, unix.SIGKILL)
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// A family of three generations: one in the group, one that left session and group, one whose parent has gone.
const family = `sleep 1000 & a=$!; setsid sleep 1000 & b=$!; ` +
	`c=$(sh -c 'setsid sleep 1000 >/dev/null & echo $!'); echo $$ $a $b $c; wait`

func TestNothingOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	for _, what := range []string{family, "trap '' TERM HUP INT; " + family, "patient", "stubborn"} {
		t.Run(what, func(t *testing.T) {
			p := exec.Command(os.Args[0])
			p.Env = append(os.Environ(), envParent+"="+what)
			p.Stderr = os.Stderr
			out, err := p.StdoutPipe()
			testkit.Must(t, err)
			testkit.Must(t, p.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatalf("read the pids: %v", err)
			}
			below, err := descendants(p.Process.Pid)
			if err != nil || len(below) == 0 {
				t.Fatalf("descendants of the parent: %v, %v", below, err)
			}
			for _, pid := range pids(t, line) {
				if !alive(pid) {
					t.Fatalf("process %d ended before its time", pid)
				}
			}
			testkit.Must(t, p.Process.Kill())
			_ = p.Wait() // killed, as wanted
			wantDead(t, append(below, pids(t, line)...)...)
		})
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{
		"exit 0": 0, "exit 3": 3, "kill -9 $$": 137, "kill -15 $$": 143, "kill -SEGV $$": 139,
		"sleep 1000 & exit 5": 5,
	} {
		if err := sh(t, t.Context(), script).Run(); ExitCode(err) != want {
			t.Errorf("%s: exit code %d (%v), want %d", script, ExitCode(err), err, want)
		}
	}
	if err := Supervised(t.Context(), "no-such-command").Start(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a missing command: %v, want exec.ErrNotFound", err)
	}
	for path, want := range map[string]int{"/no/such/file": codeNotFound, "/etc/passwd": codeNotExecutable} {
		if err := Supervised(t.Context(), path).Run(); ExitCode(err) != want {
			t.Errorf("%s: %v, want exit code %d", path, err, want)
		}
	}
}

func TestBackgroundProcessesEndWithTheCommand(t *testing.T) {
	t.Parallel()
	c := sh(t, t.Context(), `sleep 1000 & a=$!; setsid sleep 1000 & echo $a $!; exit 0`)
	var out bytes.Buffer
	c.Stdout = &out
	began := time.Now()
	testkit.Must(t, c.Run())
	if d := time.Since(began); d > pipeLimit {
		t.Errorf("took %v: a process still held the output", d)
	}
	wantDead(t, pids(t, out.String())...)
}

func TestInBinaryChild(t *testing.T) {
	t.Setenv("SECRET_OF_THE_PARENT", "x")
	c := Command(t.Context(), "echo", "a", "b c")
	var out, stderr bytes.Buffer
	c.Env = []string{"ONLY=this", envChild + "=fail"}
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader("in"), &out, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if want := "a,b c|in|ONLY=this"; out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}

	for child, want := range map[string]struct {
		code int
		text string
	}{
		"fail":    {1, "no luck today"},
		"code":    {98, "busy"},
		"unknown": {1, "no such child"},
	} {
		c, stderr := Command(t.Context(), child), bytes.Buffer{}
		c.Stderr = &stderr
		if err := c.Run(); ExitCode(err) != want.code || !strings.Contains(stderr.String(), want.text) {
			t.Errorf("%s: %v, %q; want exit code %d and %q", child, err, &stderr, want.code, want.text)
		}
	}
}

func TestCanceledContextStops(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script string
		want   int
	}{
		"obedient": {`trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done`, 7},
		"stubborn": {`trap '' TERM; setsid sleep 1000 & echo ready; while :; do sleep 0.01; done`, codeLineCut},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := sh(t, ctx, test.script)
			c.Grace = 300 * time.Millisecond
			out, in := io.Pipe()
			c.Stdout = in
			testkit.Must(t, c.Start())
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
				t.Fatalf("%q, %v", line, err)
			}
			below, err := descendants(c.Pid())
			if err != nil || len(below) == 0 {
				t.Fatalf("%v, %v", below, err)
			}
			cancel()
			began := time.Now()
			err = c.Wait()
			if !errors.Is(err, context.Canceled) || ExitCode(err) != test.want {
				t.Errorf("%v, want context.Canceled and exit code %d", err, test.want)
			}
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("took %v", d)
			}
			wantDead(t, append(below, c.Pid())...)
		})
	}
}

func TestStopIsIdempotentAndEscalates(t *testing.T) {
	t.Parallel()
	c := sh(t, t.Context(), `trap '' TERM; echo ready; while :; do sleep 0.01; done`)
	out, in := io.Pipe()
	c.Stdout = in
	testkit.Must(t, c.Start())
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { c.Stop(time.Hour) })
	}
	c.Stop(0) // the second signal: now
	wg.Wait()
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if code := ExitCode(c.Wait()); code != codeLineCut {
		t.Errorf("exit code %d, want %d", code, codeLineCut)
	}
	c.Stop(time.Hour)
	c.Stop(0)

	never := Command(t.Context(), "patient")
	never.Stop(0) // a child that was never started
}

func TestKilledSupervisorTakesTheCommandAlong(t *testing.T) {
	t.Parallel()
	c := sh(t, t.Context(), `echo $$; exec sleep 1000`)
	out, in := io.Pipe()
	c.Stdout = in
	testkit.Must(t, c.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	testkit.Must(t, err)
	testkit.Must(t, unix.Kill(c.Pid(), unix.SIGKILL))
	wantDead(t, pids(t, line)...)
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("%v, want a supervisor killed by SIGKILL", err)
	}
}

func TestChildHasAGroupOfItsOwn(t *testing.T) {
	t.Parallel()
	c := sh(t, t.Context(), `ps -o pgid= -p $$; echo $$`)
	var out bytes.Buffer
	c.Stdout = &out
	testkit.Must(t, c.Run())
	ids := pids(t, out.String())
	if len(ids) != 2 || ids[0] != ids[1] || ids[0] == unix.Getpgrp() {
		t.Errorf("group and pid of the command are %v, ours is %d", ids, unix.Getpgrp())
	}
}

func TestMainRefusesAHandMadeChild(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = []string{envChild + "=echo"}
	out, err := c.CombinedOutput()
	if ExitCode(err) != 1 || !strings.Contains(string(out), "is not a lifeline") {
		t.Errorf("%v: %s", err, out)
	}
	t.Setenv(envChild, "echo") // as in a child whose program forgot Main
	if err := Command(t.Context(), "echo").Start(); err == nil || !strings.Contains(err.Error(), "lifeline.Main") {
		t.Errorf("a child without Main could start children: %v", err)
	}
}

func TestStartWithDoneContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Command(ctx, "echo").Run(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestManyShortCommands(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if err := sh(t, t.Context(), "sleep 1000 & exit 4").Run(); ExitCode(err) != 4 {
					t.Errorf("%v, want exit code 4", err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) b) (c) S 7 12 12 0"))
	f.Add([]byte("12 (x) Z 1"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if p, ok := parseStat(3, stat); ok && p.pid != 3 {
			t.Errorf("%+v", p)
		}
	})
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]process{
		"12 (a) b) (c) S 7 12 12 0": {pid: 12, parent: 7},
		"12 (x) Z 1 2":              {pid: 12, parent: 1, dead: true},
	} {
		if p, ok := parseStat(12, []byte(in)); !ok || p != want {
			t.Errorf("%q: %+v %v, want %+v", in, p, ok, want)
		}
	}
}
