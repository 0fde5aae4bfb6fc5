package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gitcmd"
	"github.com/rpmflow/rpmflow/internal/giturl"
)

// remote is a repository's URL with its credentials.
type remote struct {
	url     giturl.URL // as configured
	clean   string     // without credentials, for people
	access  Access
	secrets []string // what must not be in a message
	// parent is that of a submodule; scope keeps its mirror apart from those that are read with other credentials, and
	// dial, if it is set, connects to its server.
	parent *parent
	scope  string
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

func parseRemote(text string) (*remote, error) {
	u, err := giturl.Parse(text)
	switch {
	case err != nil:
	case u.Scheme == "" && !filepath.IsAbs(u.Path):
		err = errors.New("neither a URL nor an absolute path")
	case !slices.Contains([]string{"", "file", "http", "https", "ssh"}, u.Scheme):
		err = fmt.Errorf("scheme %q is not allowed", u.Scheme)
	}
	if err != nil {
		return nil, rpmflow.Fail(rpmflow.FailureSource,
			"use https, http, ssh, git@host:path, file:// or an absolute path in the project's url setting",
			"repository %q: %v", giturl.Redact(text), err)
	}
	return &remote{url: u, clean: u.Redacted(), secrets: u.Secrets()}, nil
}

// path is that of a repository on this machine's disk; "" for another one.
func (r *remote) path() string {
	if !r.url.Local() {
		return ""
	}
	return filepath.Clean(r.url.Path)
}

func (r *remote) ssh() bool { return r.url.Scheme == "ssh" }

// mirrorName is the name of the remote's mirror: something to read and something unique. Credentials are not part
// of it, so that a new token does not mean a new mirror.
func (r *remote) mirrorName() string {
	id := r.clean
	if p := r.path(); p != "" {
		id = p
	}
	readable := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			return c
		}
		return '-'
	}, strings.TrimSuffix(path.Base(id), ".git"))
	if r.scope != "" { // what one project may read is not there for another's submodules
		id += "\x00" + r.scope
	}
	return strings.Trim(readable[:min(len(readable), 40)], "-") + "-" + rpmflow.Digest([]byte(id))[:20] + ".git"
}

// redactedError is an error without the credentials of the URL. It hides the cause's text but not what kind of error it
// is.
type redactedError struct {
	text  string
	cause error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.cause, target) }

func (r *remote) scrub(err error) error {
	text := strings.ReplaceAll(err.Error(), r.url.String(), r.clean)
	for _, secret := range r.secrets {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "***")
			continue
		}
		// Too short to be replaced everywhere; in a URL it is before : or @.
		if secret != "" {
			text = strings.ReplaceAll(strings.ReplaceAll(text, secret+"@", "***@"), "/"+secret+":", "/***:")
		}
	}
	return &redactedError{text: strings.ToValidUTF8(text, "?"), cause: err}
}

var (
	// errNoRef means that the remote does not have the ref, or does not serve the commit.
	errNoRef = errors.New("not in the remote repository")
	// errIncomplete is a repository that lacks objects of its own: a partial clone, or a damaged one.
	errIncomplete = errors.New("the repository is incomplete")
	// errRefused is a remote that refuses the credentials.
	errRefused = errors.New("authentication refused")
	// errNoKey means that there is neither an ssh agent nor a key file to authenticate with.
	errNoKey = errors.New("no ssh agent and no key in ~/.ssh")
	// errNoRepository is a remote that does not have the repository.
	errNoRepository = errors.New("repository not found")
	// errOutside is a failure of the network or the machine, which does not concern the mirror.
	errOutside = errors.New("the network or this machine failed")
)

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

// explain sorts the errors of a remote: refused or not found is a mistake in the configuration, all else may pass
// with a retry.
func (r *remote) explain(what string, err error) error {
	hint := "check the repository's URL (the project's url setting), and that its credentials " +
		"(those in the URL, token, the ssh key) may read the repository"
	if r.parent != nil {
		hint = "check url in .gitmodules; a submodule is read with the project's own credentials " +
			"(those in the URL, token, the ssh key) on the project's own server, and without any elsewhere"
	}
	var refused *rpmflow.Failure
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%s: %w", what, refused)
	case errors.Is(err, errNoKey):
		return rpmflow.Fail(rpmflow.FailureSource, "make a key that may read the repository, or set git.ssh_key_file",
			"%s: cannot authenticate at %s: %v", what, r.clean, errNoKey)
	case errors.Is(err, errRefused):
		return rpmflow.Fail(rpmflow.FailureSource, hint, "%s: authentication refused by %s", what, r.clean)
	case errors.Is(err, errIncomplete) && r.path() != "":
		return &rpmflow.Failure{Kind: rpmflow.FailureSource, Err: r.scrub(err),
			Message: fmt.Sprintf("%s: objects are missing in %s", what, r.clean),
			Hint: "of a partial clone build the directory itself, or the repository that it was cloned from; " +
				"else run git fsck"}
	case errors.Is(err, errNoRepository):
		return rpmflow.Fail(rpmflow.FailureSource, hint, "%s: repository %s not found", what, r.clean)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s from %s took too long; is it reachable from here?: %w", what, r.clean, r.scrub(err))
	}
	return fmt.Errorf("%s from %s: %w", what, r.clean, r.scrub(err))
}

// uploadPack reads a repository of another user, too. Git itself allows that again since 2.47: upload-pack runs neither
// hooks nor commands of the repository that it serves, and the path is the operator's own choice.
const uploadPack = "git -c safe.directory=* upload-pack"

// git runs a command that connects to the remote: global options, the command's own, the remote, further words.
func (r *remote) git(ctx context.Context, lock *os.File, global []string, command string,
	options ...string) ([]byte, error) {
	if p := r.path(); p != "" {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return nil, errNoRepository // unlike one that cannot be read
		}
	}
	env, err := r.environment()
	if err != nil {
		return nil, err
	}
	args := append(global, "-c", "protocol.version=2", "-c", "http.followRedirects=initial",
		"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=120", command)
	var specs []string
	for _, option := range options {
		if strings.HasPrefix(option, "-") {
			args = append(args, option)
		} else {
			specs = append(specs, option)
		}
	}
	if r.path() != "" {
		args = append(args, "--upload-pack="+uploadPack)
	}
	cmd := gitcmd.Command(ctx, append(append(args, "--", r.address()), specs...)...)
	cmd.Env = append(cmd.Env, env...)
	if lock != nil {
		cmd.ExtraFiles = []*os.File{lock}
	}
	if r.dial == nil {
		out, _, err := gitcmd.Output(ctx, cmd)
		return out, remoteError(err)
	}
	p, err := startProxy(ctx, r.dial)
	if err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, p.environment()...)
	out, _, err := gitcmd.Output(ctx, cmd)
	if refused := p.close(); err != nil && refused != nil {
		return nil, refused
	}
	return out, remoteError(err)
}

// fetch brings refspecs into the mirror. Git inherits the mirror's lock: if this process is killed, no other process
// changes the mirror before git has ended, too.
func (r *remote) fetch(ctx context.Context, mirror string, lock *os.File, options []string, specs ...string) error {
	// A pack appears whole or not at all; loose objects of an interrupted fetch would not.
	global := []string{"--git-dir=" + mirror, "-c", "fetch.unpackLimit=1", "-c", "gc.auto=0",
		"-c", "maintenance.auto=false", "-c", "core.hooksPath=" + os.DevNull}
	words := append(
		[]string{"--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--update-shallow"},
		options...)
	_, err := r.git(ctx, lock, global, "fetch", append(words, specs...)...)
	return err
}

// CheckRef refuses a ref that would mean something else as a refspec.
func CheckRef(ref string) error {
	if !strings.HasPrefix(ref, "refs/") || plumbing.ReferenceName(ref).Validate() != nil ||
		strings.ContainsAny(ref, "*:^ ~?[\\") {
		return rpmflow.Fail(rpmflow.FailureSource, "push a branch or a tag", "%q is not the full name of a ref", ref)
	}
	return nil
}
