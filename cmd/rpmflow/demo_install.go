package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// publicationLimit bounds the wait for a publication: the first one begins with the making of a key.
const publicationLimit = time.Minute

// install waits until the build's packages are published, and installs them with dnf into an empty directory. What
// cannot be done here is said, with the command that does it elsewhere: the build is a success all the same.
func (d *demonstration) install(ctx context.Context, cfg *config.Config, b rpmflow.Build, out io.Writer) error {
	published, err := awaitPublication(ctx, cfg, b)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		fmt.Fprintf(out, "\nIt is not in a repository: %s\n", hint.Full(err))
		return nil
	}
	url := fmt.Sprintf("%s/%s/%s/%s.repo", cfg.RepositoriesURL(), b.Project, b.Target, b.Project)
	fmt.Fprintf(out, "\nIt is in a signed repository for dnf and zypper, %s\n", url)
	root := filepath.Join(cfg.DataDir, "demo", "root")
	args, why := installCommand(ctx, root)
	args = append(args, published...)
	if why == nil {
		fmt.Fprintf(out, "\n$ %s\n", strings.Join(args, " "))
		why = installInto(ctx, root, url, args)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if why == nil {
		fmt.Fprintf(out, "dnf has checked both signatures and has installed it, into %s.\n", fromHere(root))
		return nil
	}
	fmt.Fprintf(out, "It is not installed here: %v\nOn a machine that it is built for, as root:\n"+
		"  dnf config-manager --add-repo %s\n  dnf install %s\n", why, url, strings.Join(published, " "))
	return nil
}

// awaitPublication waits until the packages of a build are in their repository, and returns their names.
func awaitPublication(ctx context.Context, cfg *config.Config, b rpmflow.Build) (published []string, err error) {
	nc, js, err := events.Dial(connect.NATS(cfg, "rpmflow demo"), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, publicationLimit)
	defer cancel()
	for {
		last, _, err := events.NewPublications(js).Last(ctx, b.Project, b.Target)
		// The publisher makes the stream when it starts, which can be after the build.
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, err
		}
		for _, r := range last.Refused {
			if r.Build == b.ID {
				return nil, hint.Add(fmt.Errorf("package %s: %s", r.Name, r.Reason), r.Hint)
			}
		}
		for _, r := range last.Repositories {
			for _, p := range r.Added {
				if r.Kind == "" && p.Build == b.ID {
					published = append(published, p.NEVRA)
				}
			}
		}
		if len(published) > 0 {
			return published, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("it was not published within %s; the log says why", publicationLimit)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// installCommand is dnf with a directory in place of this machine's root. rpm changes its root for that, which needs
// the rights of root, if only in a user namespace.
func installCommand(ctx context.Context, root string) (args []string, err error) {
	if _, err := exec.LookPath("dnf"); err != nil {
		return nil, errors.New("this machine has no dnf")
	}
	args = []string{"dnf", "--installroot=" + root, "--releasever=1", "--assumeyes", "install"}
	if os.Geteuid() == 0 {
		return args, nil
	}
	if err := exec.CommandContext(ctx, "unshare", "--map-root-user", "true").Run(); err != nil {
		return nil, errors.New("dnf needs the rights of root, and this user may not make a user namespace (unshare)")
	}
	return append([]string{"unshare", "--map-root-user"}, args...), nil
}

// installInto runs the command with the repository, and no other, in an empty directory.
func installInto(ctx context.Context, root, url string, args []string) error {
	repos := filepath.Join(root, "etc", "yum.repos.d")
	if err := errors.Join(os.RemoveAll(root), os.MkdirAll(repos, 0o755)); err != nil {
		return err
	}
	if err := download(ctx, url, filepath.Join(repos, "rpmflow.repo")); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + root, "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%w:\n  %s", err, strings.Join(lines[max(0, len(lines)-5):], "\n  "))
	}
	return nil
}

func download(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, res.Status)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o644) // #nosec G306 -- as the files beside it
}
