package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/hook"
	"github.com/rpmflow/rpmflow/internal/osrelease"
	"github.com/rpmflow/rpmflow/internal/retry"
)

// demonstration is a package directory that is pushed to its own repository and built.
type demonstration struct {
	project rpmflow.Project
	dir     string // of the package
	repo    string // bare
	onHost  bool   // the host's rpmbuild builds, because nothing else can build here
}

// newDemonstration adds a project to the configuration, and a target if none is configured. If neither engine nor
// target is chosen and there is no image to build in, the host's own rpmbuild builds for the host; the second result is
// the reason.
func newDemonstration(
	ctx context.Context, cfg *config.Config, dir, target string, log *slog.Logger,
) (_ *demonstration, instead string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, "", fmt.Errorf("demo: %w", err)
	}
	name := filepath.Base(dir)
	if err := rpmflow.CheckProjectName(name); err != nil {
		return nil, "", fmt.Errorf("demo: directory %s: %w", dir, err)
	}
	if _, taken := cfg.Project(name); taken {
		return nil, "", fmt.Errorf("demo: project %q is configured already: push to its repository instead", name)
	}
	if specs, err := filepath.Glob(filepath.Join(dir, "*.spec")); err != nil || len(specs) == 0 {
		return nil, "", fmt.Errorf("demo: no file *.spec in %s: give --demo a directory with a spec, "+
			"such as examples/hello", dir)
	}
	chosen := target != ""
	if !chosen {
		target = defaultTarget()
	}
	if len(cfg.Targets) == 0 || chosen && len(cfg.Projects) == 0 {
		cfg.Targets = []rpmflow.Target{
			{Name: target, Arch: rpmflow.ArchOf(target), Config: target, Image: "rpmflow/mock:latest"},
		}
		switch auto := cfg.Builder.Engine == config.EngineAuto; {
		case auto && cfg.Targets[0].OnHost():
			cfg.Builder.Engine = config.EngineRPMBuild
		case auto && !chosen:
			if why := cannotUseMock(ctx, cfg, cfg.Targets[0], log); why != nil {
				cfg.Builder.Engine, cfg.Targets = config.EngineRPMBuild,
					[]rpmflow.Target{rpmflow.HostTarget(osrelease.Read())}
				what, do := hint.Split(why)
				instead = fmt.Sprintf("no clean build root for %s: %s\n  to have one: %s\n"+
					"  Until then this machine's own rpmbuild builds, for %s, without isolation, and with what is "+
					"installed here.",
					target, what, do, cfg.Targets[0].Name)
			}
		}
	}
	d := &demonstration{dir: dir, repo: filepath.Join(cfg.DataDir, "demo", name+".git"), onHost: instead != ""}
	d.project = rpmflow.Project{
		Name: name, URL: d.repo, Branches: []string{"main"}, Layout: rpmflow.LayoutAuto,
		Targets: []string{cfg.Targets[0].Name}, Secret: rand.Text(), Timeout: time.Hour, Concurrency: 1,
		Publish: rpmflow.Publish{On: true, Replace: true}, // every run builds the same version again
	}
	cfg.Projects = append(cfg.Projects, d.project)
	return d, instead, nil
}

// show pushes, prints what happens until the build is finished, and where its packages are.
func (d *demonstration) show(ctx context.Context, cfg *config.Config, out io.Writer) error {
	if err := d.prepare(ctx, cfg); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(out, "%s is pushed to a repository whose post-receive hook announces every push:\n\n"+
		"$ git push %s main\n", fromHere(d.dir), fromHere(d.repo))
	answer, err := d.push(ctx)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(out, "%s\n\n", answer)
	commit, err := d.git(ctx, d.repo, "rev-parse", "main")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	c := api.NewClient(cfg.PublicURL.String(), "")
	b, err := buildOf(ctx, c, commit)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(out, "Build %s for %s:\n", b.ID, b.Target)
	if b, err = d.follow(ctx, c, b.ID, out); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return d.result(ctx, cfg, b, out)
}

// buildOf waits for the build of a commit.
func buildOf(ctx context.Context, c *api.Client, commit string) (b rpmflow.Build, err error) {
	err = retry.Policy{Limit: time.Minute}.Do(ctx, func() error {
		page, err := c.Builds(ctx, url.Values{"commit": {commit}})
		if err == nil && len(page.Builds) == 0 {
			return fmt.Errorf("no build was queued for commit %s", commit)
		}
		if err != nil {
			return retry.Permanent(err)
		}
		b = page.Builds[0]
		return nil
	})
	return b, err
}

// follow shows the build's steps, and on a terminal the newest line of its log.
func (d *demonstration) follow(
	ctx context.Context, c *api.Client, id string, out io.Writer,
) (b rpmflow.Build, err error) {
	m := newMeter(out, false)
	defer func() { m.end(b.Phases) }()
	lctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	reading.Go(func() {
		r, err := c.Log(lctx, id, true)
		if err != nil {
			return // the phases are shown without it
		}
		defer func() { _ = r.Close() }()
		_, _ = io.Copy(m, r) // the phases are shown without it
	})
	return c.Wait(ctx, id, m.report)
}

// result prints what was made and where it is, or why nothing was made, installs it, and prints the next commands.
func (d *demonstration) result(ctx context.Context, cfg *config.Config, b rpmflow.Build, out io.Writer) error {
	self := os.Args[0]
	fmt.Fprintln(out)
	if b.Outcome.Result != rpmflow.Succeeded {
		if err := printBuild(out, b); err != nil {
			return err
		}
		fmt.Fprintf(out, "\nThe server goes on running; Ctrl-C ends it. The whole log of the build, in another "+
			"terminal:\n"+
			"  %s logs %s\n", self, b.ID)
		return nil
	}
	for _, a := range b.Artifacts {
		if a.Kind == rpmflow.KindRPM {
			fmt.Fprintf(out, "%s is built:\n  %s\n  in S3 it is %s/%s\n", a.NEVRA, a.URL, cfg.S3.Bucket, a.Key)
		}
	}
	if err := d.install(ctx, cfg, b, out); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(out, `
The server goes on running; Ctrl-C ends it. In another terminal, in this directory:
  %[1]s show %[2]s            the build's record
  %[1]s show %[2]s --event    the event that subscribers got, as JSON
  %[1]s logs %[2]s            the build's log
Next: build it again and wait for it:
  %[1]s submit %[3]s --wait
`, self, b.ID, d.project.Name)
	return nil
}

// prepare makes the bare repository, or uses the one of an earlier run, and installs the hook.
func (d *demonstration) prepare(ctx context.Context, cfg *config.Config) error {
	if err := os.MkdirAll(filepath.Dir(d.repo), 0o700); err != nil {
		return err
	}
	if _, err := d.git(ctx, "", "init", "--quiet", "--bare", "--initial-branch=main", d.repo); err != nil {
		return err
	}
	secret := filepath.Join(d.repo, "rpmflow-secret")
	if err := os.WriteFile(secret, []byte(d.project.Secret), 0o600); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return hook.Install(ctx, d.repo, program, cfg.PublicURL.String()+"/hooks/generic/"+d.project.Name, secret,
		io.Discard)
}

// push commits the package as it is, even if nothing has changed, and pushes it: from a repository of its own, so that
// one of the user that the directory belongs to is neither read nor changed.
func (d *demonstration) push(ctx context.Context) (string, error) {
	own, err := os.MkdirTemp("", "rpmflow-demo-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(own) }()
	steps := [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "--all"},
		{"commit", "--quiet", "--allow-empty", "--message", "Demonstration " + time.Now().Format(time.DateTime)},
		{"push", d.repo, "HEAD:refs/heads/main"},
	}
	if _, err := d.git(ctx, d.repo, "rev-parse", "--verify", "--quiet", "refs/heads/main"); err == nil {
		steps = slices.Insert(steps, 1, []string{"fetch", "--quiet", d.repo, "main"},
			[]string{"reset", "--quiet", "--soft", "FETCH_HEAD"})
	}
	answer := ""
	for _, args := range steps {
		here := []string{"--git-dir=" + own, "--work-tree=" + d.dir}
		if answer, err = d.git(ctx, d.dir, append(here, args...)...); err != nil {
			return "", err
		}
	}
	return answer, nil
}

// git runs git without the user's own configuration, which might ask for signatures or run hooks.
func (d *demonstration) git(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "LC_ALL=C.UTF-8",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=rpmflow demo", "GIT_AUTHOR_EMAIL=demo@example.com", "GIT_COMMITTER_NAME=rpmflow demo",
		"GIT_COMMITTER_EMAIL=demo@example.com",
	}
	raw, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(raw))
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return text, nil
}
