// Package hook announces the pushes of a git repository to a listener: it is what runs as the repository's post-receive
// hook.
//
// The refs that git has received come in; signed deliveries go out, and messages for the person who has pushed. Each
// delivery is kept in a spool in the repository before it is sent, so that a listener that is away gets it later, in
// order. Only cmd/rpmflow imports it.
package hook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// Keys of git's configuration.
const (
	keyURL        = "rpmflow.url"
	keySecretFile = "rpmflow.secretFile" // #nosec G101 -- the name of a setting
)

// maxSecret bounds a secret's file, so that a wrong one is not read whole.
const maxSecret = 64 << 10

// Repository is one whose pushes are announced.
type Repository struct {
	Dir        string // git's own directory: the bare repository, or .git
	URL        string // of the listener: http://HOST/hooks/generic/PROJECT
	SecretFile string
	secret     string
}

// Open finds the repository of a directory and reads its settings and its secret. With an error about these it returns
// the repository, too.
func Open(ctx context.Context, dir string) (*Repository, error) {
	r, err := find(ctx, dir)
	if err != nil {
		return nil, err
	}
	if r.URL, err = r.config(ctx, keyURL); err != nil {
		return nil, err
	}
	if r.SecretFile, err = r.config(ctx, keySecretFile); err != nil {
		return nil, err
	}
	if r.URL == "" || r.SecretFile == "" {
		return r, hint.Add(fmt.Errorf("%s is not set up to announce its pushes", r.Dir), "run "+r.installWords())
	}
	if !filepath.IsAbs(r.SecretFile) {
		r.SecretFile = filepath.Join(r.Dir, r.SecretFile)
	}
	if r.secret, err = readSecret(r.SecretFile); err != nil {
		return r, hint.Add(err, "make it readable for those who push, or run "+r.installWords())
	}
	return r, nil
}

func (r *Repository) installWords() string {
	return "rpmflow hook install " + r.Dir + " --url http://HOST/hooks/generic/PROJECT --secret-file FILE"
}

// find asks git, which supports .git files, worktrees and the variables that it sets for hooks.
func find(ctx context.Context, dir string) (*Repository, error) {
	out, err := git(ctx, dir, "rev-parse", "--git-common-dir")
	if err != nil {
		return nil, fmt.Errorf("%s is not a repository that git reads: %w", dir, err)
	}
	at, err := absolute(dir, strings.TrimSuffix(out, "\n"))
	return &Repository{Dir: at}, err
}

// absolute is for what git says relative to the directory that it runs in.
func absolute(dir, name string) (string, error) {
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil
	}
	return filepath.Abs(filepath.Join(dir, name))
}

func (r *Repository) config(ctx context.Context, key string) (string, error) {
	out, err := git(ctx, r.Dir, "config", "--get", key)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // it is not set
		return "", nil
	}
	return strings.TrimSpace(out), err
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}

// readSecret reads a file as secret_file of the configuration does: a newline at its end is not part of it.
func readSecret(file string) (string, error) {
	f, err := os.Open(file) // #nosec G304 -- the owner of the repository names it
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	defer func() { _ = f.Close() }() // it was read only
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")
	if secret == "" || len(raw) > maxSecret {
		return "", fmt.Errorf("secret: %s is empty or larger than %d bytes", file, maxSecret)
	}
	return secret, nil
}

// Project is the project's name, as the URL has it.
func (r *Repository) Project() string {
	u, err := url.Parse(r.URL)
	if err != nil {
		return "PROJECT"
	}
	return path.Base(u.Path)
}

// pushed reads what git tells a post-receive hook: a line for each ref. Each ref gets a delivery of its own, with an id
// that is the same however often it is sent. The form can hold several refs, but the listener has five seconds for
// looking at repositories for each delivery, and a ref for which no time is left builds all packages: in a test with 60
// refs of a local repository, 8 did. Also a delivery is refused, kept and sent again as a whole.
func pushed(stdin io.Reader) ([]forge.GenericDelivery, error) {
	var all []forge.GenericDelivery
	pusher := ""
	if u, err := user.Current(); err == nil {
		pusher = u.Username
	}
	for lines := bufio.NewScanner(stdin); ; {
		if !lines.Scan() {
			return all, lines.Err()
		}
		words := strings.SplitN(lines.Text(), " ", 3)
		if len(words) != 3 {
			return all, fmt.Errorf("%.80q is not what git tells a post-receive hook", lines.Text())
		}
		all = append(all, forge.GenericDelivery{
			GenericChange: forge.GenericChange{Before: words[0], After: words[1], Ref: words[2]},
			Delivery:      "hook " + uuid.NewString(), Pusher: pusher,
		})
	}
}

// PostReceive announces the refs that git lists, after what waits in the spool. It returns an error when a ref is
// neither announced nor kept; who has pushed has read what to do by then.
func PostReceive(ctx context.Context, dir string, stdin io.Reader, out io.Writer) error {
	fresh, err := pushed(stdin)
	if err != nil {
		return fmt.Errorf("reading the refs that were pushed: %w", err)
	}
	r, err := Open(ctx, dir)
	if err != nil && r != nil && r.URL != "" { // it waits for the secret
		s, kept := openSpool(r.Dir), 0
		for ; kept < len(fresh) && s.add(fresh[kept]) == nil; kept++ {
		}
		if kept == len(fresh) {
			w := words{out: out}
			w.kept(result{why: hint.Full(err).Error()}, kept)
			return nil
		}
	}
	if err != nil {
		return err
	}
	return r.announce(ctx, fresh, out)
}

// errWaiting and errRejected make the exit code say that not all was delivered; why has been said.
var (
	errWaiting  = errors.New("not all is delivered: what is left waits")
	errRejected = errors.New("the listener has refused what is named above")
)

// Flush delivers what waits in the spool; with rejected also what a listener has refused before.
func (r *Repository) Flush(ctx context.Context, rejected bool, out io.Writer) error {
	s := openSpool(r.Dir)
	if rejected {
		if err := s.takeBack(ctx); err != nil {
			return err
		}
	}
	entries, err := s.list()
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		fmt.Fprintln(out, "nothing waits to be delivered")
		return nil
	}
	if err := r.announce(ctx, nil, out); err != nil {
		return err
	}
	if entries, err = s.list(); err == nil && len(entries) > 0 {
		err = errWaiting
	}
	return err
}

// announce keeps the deliveries of a push, then sends what is kept, oldest first.
func (r *Repository) announce(ctx context.Context, fresh []forge.GenericDelivery, out io.Writer) error {
	s := openSpool(r.Dir)
	w := &words{out: out, project: r.Project(), several: len(fresh) > 1}
	sender := newSender(r)
	defer sender.close()

	mine := map[string]bool{}
	var lost []forge.GenericDelivery
	var why error
	for _, d := range fresh {
		err := s.add(d)
		if errors.Is(err, errFull) { // what waits may go now, which makes room
			_ = s.deliver(ctx, sender, w, mine) // it is said below if not
			err = s.add(d)
		}
		if err != nil {
			lost, why = append(lost, d), err
			continue
		}
		mine[d.Delivery] = true
	}
	err := s.deliver(ctx, sender, w, mine)
	if len(lost) > 0 {
		return r.direct(ctx, sender, w, lost, why, err == nil && !errors.Is(why, errFull))
	}
	if err == nil && w.refused {
		err = errRejected
	}
	return err
}

// direct sends what could not be kept. That is done only if nothing older waits, so that the refs' order stays.
func (r *Repository) direct(ctx context.Context, sender *sender, w *words, lost []forge.GenericDelivery, why error,
	may bool) error {
	var missed []string
	for _, d := range lost {
		if may {
			res := sender.send(ctx, d)
			if res.verdict == delivered {
				w.answer(d, res, false)
				continue
			}
			if res.verdict == refused {
				w.rejected(d, res, "")
				missed = append(missed, d.Ref)
				continue
			}
			may = false
			w.say("%s", res.why)
		}
		w.say("%s is NOT announced, and could not be kept for later: %v", d.Ref, why)
		if !rpmflow.IsZeroCommit(d.After) {
			w.say("  build it with: rpmflow submit %s --ref %s", w.project, argument(d.Ref))
		}
		missed = append(missed, clean(d.Ref))
	}
	if len(missed) > 0 {
		return fmt.Errorf("not announced: %s", strings.Join(missed, ", "))
	}
	return nil
}

// gitPath is where git looks for something of the repository: hooks may be elsewhere.
func (r *Repository) gitPath(ctx context.Context, name string) (string, error) {
	out, err := git(ctx, r.Dir, "rev-parse", "--git-path", name)
	if err != nil {
		return "", err
	}
	return absolute(r.Dir, strings.TrimSuffix(out, "\n"))
}
