package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The git command speaks to repositories, go-git reads what has been fetched. One way for all transports: a fetch by go-git takes 2.4
// times as long and five times the memory where history is large, and asks for single commits only where a server's configuration
// allows it, whereas git's protocol 2 always may. Git in turn refuses a repository on disk that belongs to another user
// (safe.directory), which a builder in a container meets with every mounted one.

var (
	// errNoRef says that the remote does not have the ref, or does not give out the commit.
	errNoRef = errors.New("not in the remote repository")
	// errIncomplete is a repository that lacks objects of its own: a partial clone, or a damaged one.
	errIncomplete = errors.New("the repository is incomplete")
	// errRefused is a remote that does not let us in.
	errRefused = errors.New("authentication refused")
	// errNoRepository is a remote, or a server, that does not know the repository.
	errNoRepository = errors.New("repository not found")
	// errOutside is trouble of the network or the machine, which says nothing about our mirror.
	errOutside = errors.New("no fault of the mirror")
)

// ownerless lets git-upload-pack read a repository of another user. Git itself allows that again since 2.47: upload-pack
// heeds neither hooks nor commands of the repository that it serves, and the path is the operator's own choice.
const ownerless = "git -c safe.directory=* upload-pack"

// list is git ls-remote.
func (r *remote) list(ctx context.Context) ([]advertised, error) {
	out, err := r.git(ctx, nil, nil, "ls-remote", "--quiet", "--symref")
	if err != nil {
		return nil, err
	}
	return parseLsRemote(string(out)), nil
}

// git runs a command that talks to the remote: global options, the command's own, the remote, further words.
func (r *remote) git(ctx context.Context, lock *os.File, global []string, command string, options ...string) ([]byte, error) {
	if r.path != "" {
		if _, err := os.Stat(r.path); errors.Is(err, fs.ErrNotExist) {
			return nil, errNoRepository // tells it from one that cannot be read
		}
	}
	env, err := r.environment()
	if err != nil {
		return nil, err
	}
	args := append(global, "-c", "protocol.version=2", "-c", "http.followRedirects=initial", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=120", command)
	var specs []string
	for _, option := range options {
		if strings.HasPrefix(option, "-") {
			args = append(args, option)
		} else {
			specs = append(specs, option)
		}
	}
	if r.path != "" {
		args = append(args, "--upload-pack="+ownerless)
	}
	args = append(append(args, "--", r.address()), specs...)
	if r.client == nil {
		out, err := runGitWith(ctx, env, lock, args...)
		return out, remoteError(err)
	}
	g, err := openGate(ctx, r.client)
	if err != nil {
		return nil, err
	}
	out, err := runGitWith(ctx, append(env, g.environment()...), lock, args...)
	if refused := g.close(); err != nil && refused != nil {
		return nil, refused
	}
	return out, remoteError(err)
}

// parseLsRemote reads lines "<id>\t<name>", where <name>^{} is a peeled tag and "ref: <target>" stands for the id of a symbolic ref.
func parseLsRemote(text string) []advertised {
	var refs []advertised
	index := map[string]int{}
	for line := range strings.Lines(text) {
		id, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if !ok {
			continue
		}
		name, peeled := strings.CutSuffix(name, "^{}")
		i, known := index[name]
		if !known {
			i = len(refs)
			index[name] = i
			refs = append(refs, advertised{name: name})
		}
		if target, symbolic := strings.CutPrefix(id, "ref: "); symbolic {
			refs[i].target = target
		} else if peeled || refs[i].commit == "" {
			refs[i].commit = id
		}
	}
	return refs
}

// fetch brings refspecs into the mirror. The mirror's lock goes with git: should we be killed, nobody touches the mirror before git is dead, too.
func (r *remote) fetch(ctx context.Context, mirror string, lock *os.File, options []string, specs ...string) error {
	// A pack appears whole or not at all; loose objects of an interrupted fetch would not.
	global := []string{"--git-dir=" + mirror, "-c", "fetch.unpackLimit=1", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.hooksPath=" + os.DevNull}
	words := append([]string{"--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--update-shallow"}, options...)
	_, err := r.git(ctx, lock, global, "fetch", append(words, specs...)...)
	return err
}

// remoteErrors are git's texts, which are stable under LC_ALL=C, and what they mean. The first that fits decides.
var remoteErrors = []struct {
	text string
	err  error
}{
	{"couldn't find remote ref", errNoRef},
	{"not our ref", errNoRef},
	{"unadvertised object", errNoRef},
	{"possible repository corruption on the remote side", errIncomplete},
	{"No space left on device", errOutside},
	{"Disk quota exceeded", errOutside},
	{"Cannot allocate memory", errOutside},
	{"could not read Username", errRefused},
	{"could not read Password", errRefused},
	{"Authentication failed", errRefused},
	{"Permission denied (", errRefused},
	{"Permission denied, please try again", errRefused},
	{"returned error: 401", errRefused},
	{"returned error: 403", errRefused},
	{"does not appear to be a git repository", errNoRepository},
	{"Repository not found", errNoRepository},
	{"Host key verification failed", errOutside},
	{"unable to access", errOutside},
	{"Could not resolve host", errOutside},
	{"ssh: connect to host", errOutside},
	{"kex_exchange_identification", errOutside},
	{"Connection closed by", errOutside},
	{"Connection reset by", errOutside},
	{"timed out", errOutside},
	{"' not found", errNoRepository}, // of http: repository '…' not found
}

func remoteError(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range remoteErrors {
		if strings.Contains(err.Error(), known.text) {
			return fmt.Errorf("%w: %w", known.err, err)
		}
	}
	return err
}

func findGit() error {
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("source: the git command is needed for fetching and for archives; install git: %w", err)
	}
	return nil
}

// gitCommand is git with nothing of our environment, nor of any user's configuration, that could change what it does. It is ended
// with all that it has started.
func gitCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = childEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// childEnv is the environment of every child. TZ is there for zip, which stores local times.
func childEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1"}
}

func runGit(ctx context.Context, args ...string) ([]byte, error) {
	return runGitWith(ctx, nil, nil, args...)
}

// runGitWith gives git a file to inherit, and ends it should our process die.
func runGitWith(ctx context.Context, env []string, inherit *os.File, args ...string) ([]byte, error) {
	cmd := gitCommand(ctx, args...)
	cmd.Env = append(cmd.Env, env...)
	if inherit != nil {
		cmd.ExtraFiles = []*os.File{inherit}
	}
	// The kernel sends the signal when the thread that has started the child ends. What git has started in turn ends as soon as it
	// hears of it; a server that stays silent keeps it for http.lowSpeedTime at most.
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	errs := tail{max: 4 << 10}
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, childError(ctx, err, &errs)
	}
	return out.Bytes(), nil
}

// childError says why a child ended as it did: the context's doing is no failure of its own.
func childError(ctx context.Context, err error, stderr *tail) error {
	if ctx.Err() != nil {
		return fmt.Errorf("git: %w", ctx.Err())
	}
	return fmt.Errorf("git: %w: %s", err, strings.TrimSpace(string(stderr.buf)))
}

// tail keeps the last bytes of what is written to it.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - t.max; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}
