package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/go-git/go-git/v5/storage/memory"
	"golang.org/x/crypto/ssh"
)

// Two transports: go-git for what is reached over the network, the git command for repositories on disk. go-git
// would run git for those too, but without a bound and with our whole environment, secrets included; and git refuses a
// repository that belongs to another user (safe.directory), which a builder in a container meets with every mounted one.

// errNoRef says that the remote does not have the ref, or does not give out the commit.
var errNoRef = errors.New("not in the remote repository")

// ownerless lets git-upload-pack read a repository of another user. Git itself allows that again since 2.47: upload-pack
// heeds neither hooks nor commands of the repository that it serves, and the path is the operator's own choice.
const ownerless = "git -c safe.directory=* upload-pack"

// list is git ls-remote.
func (r *remote) list(ctx context.Context) ([]advertised, error) {
	if r.path != "" {
		if err := r.exists(); err != nil {
			return nil, err
		}
		out, err := runGit(ctx, "ls-remote", "--quiet", "--symref", "--upload-pack="+ownerless, "--", r.path)
		if err != nil {
			return nil, localError(err)
		}
		return parseLsRemote(string(out)), nil
	}
	var refs []*plumbing.Reference
	err := r.dial(ctx, func(auth transport.AuthMethod) (err error) {
		c := &config.RemoteConfig{Name: "origin", URLs: []string{r.url}}
		refs, err = git.NewRemote(memory.NewStorage(), c).ListContext(ctx, &git.ListOptions{Auth: auth, PeelingOption: git.AppendPeeled})
		return err
	})
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, ref := range refs {
		if ref.Type() == plumbing.SymbolicReference {
			fmt.Fprintf(&b, "ref: %s\t%s\n", ref.Target(), ref.Name())
			continue
		}
		fmt.Fprintf(&b, "%s\t%s\n", ref.Hash(), ref.Name())
	}
	return parseLsRemote(b.String()), nil
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

// fetch brings what (a full ref or a commit id) into the mirror and makes it reachable there under ref.
func (r *remote) fetch(ctx context.Context, mirror string, repo *git.Repository, what, ref string) error {
	spec := config.RefSpec("+" + what + ":" + ref)
	if r.path != "" {
		if err := r.exists(); err != nil {
			return err
		}
		// A pack appears whole or not at all; loose objects of an interrupted fetch would not.
		_, err := runGit(ctx, "--git-dir="+mirror, "-c", "fetch.unpackLimit=1", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
			"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--upload-pack="+ownerless, "--", r.path, string(spec))
		return localError(err)
	}
	err := r.dial(ctx, func(auth transport.AuthMethod) error {
		// The remote is not written to the mirror's configuration: its URL may hold credentials.
		c := &config.RemoteConfig{Name: "origin", URLs: []string{r.url}}
		return git.NewRemote(repo.Storer, c).FetchContext(ctx, &git.FetchOptions{
			RefSpecs: []config.RefSpec{spec}, Tags: git.NoTags, Force: true, Auth: auth,
		})
	})
	switch {
	case errors.Is(err, git.NoErrAlreadyUpToDate):
		return nil
	case errors.Is(err, git.NoMatchingRefSpecError{}), errors.Is(err, git.ErrExactSHA1NotSupported),
		errors.Is(err, transport.ErrEmptyRemoteRepository), err != nil && strings.Contains(err.Error(), "not our ref"):
		// The last is the server's own text, for a commit that it does not give out.
		return fmt.Errorf("%w: %w", errNoRef, err)
	}
	return err
}

// exists tells a repository that is not there from one that cannot be read.
func (r *remote) exists() error {
	if _, err := os.Stat(r.path); errors.Is(err, fs.ErrNotExist) {
		return transport.ErrRepositoryNotFound
	}
	return nil
}

// localError gives errors of the git command the meaning that go-git's have. Git's texts are stable under LC_ALL=C.
func localError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "couldn't find remote ref"), strings.Contains(text, "not our ref"):
		return fmt.Errorf("%w: %w", errNoRef, err)
	case strings.Contains(text, "does not appear to be a git repository"):
		return fmt.Errorf("%w: %w", transport.ErrRepositoryNotFound, err)
	}
	return err
}

// dial runs f with the means to authenticate. go-git takes those of http from the URL. Its ssh does not heed the
// context before the session stands, so f runs beside: a server that accepts and stays silent would hold us for
// ever. An f left behind so can do nothing more than fail, because all that follows heeds the context.
func (r *remote) dial(ctx context.Context, f func(transport.AuthMethod) error) error {
	if !r.ssh {
		return f(nil)
	}
	auth, err := sshAuth(r.user)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f(auth) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return errors.Join(ctx.Err(), err)
	case <-time.After(5 * time.Second):
		return ctx.Err()
	}
}

// sshAuth is the ssh agent's keys or, without an agent, the first of ssh's usual key files.
func sshAuth(user string) (transport.AuthMethod, error) {
	if user == "" {
		user = gitssh.DefaultUsername
	}
	if os.Getenv("SSH_AUTH_SOCK") != "" {
		agent, err := gitssh.NewSSHAgentAuth(user)
		if err != nil {
			return nil, fmt.Errorf("asking the ssh agent: %w", err)
		}
		return briefDial{agent}, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("looking for ssh keys: %w", err)
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		keys, err := gitssh.NewPublicKeysFromFile(user, filepath.Join(home, ".ssh", name), "")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the ssh key ~/.ssh/%s (it must have no passphrase): %w", name, err)
		}
		return briefDial{keys}, nil
	}
	return nil, errNoKey
}

// briefDial bounds the connection, which go-git makes without our context.
type briefDial struct{ gitssh.AuthMethod }

func (a briefDial) ClientConfig() (*ssh.ClientConfig, error) {
	c, err := a.AuthMethod.ClientConfig()
	if err == nil {
		c.Timeout = 30 * time.Second
	}
	return c, err
}

func findGit() error {
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("source: the git command is needed for archives; install git: %w", err)
	}
	return nil
}

// gitCommand is git with nothing of our environment, nor of any user's configuration, that could change what it does.
func gitCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = childEnv()
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// childEnv is the environment of every child. TZ is there for zip, which stores local times.
func childEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1"}
}

func runGit(ctx context.Context, args ...string) ([]byte, error) {
	cmd := gitCommand(ctx, args...)
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
