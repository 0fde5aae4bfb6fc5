package main

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/events"
)

// postReceive is the hook that users put into their own repositories.
//
//go:embed post-receive
var postReceive []byte

// demonstration is a package directory that is pushed to a repository of its own and built.
type demonstration struct {
	project rpmflow.Project
	dir     string // of the package
	repo    string // bare
}

// newDemonstration adds a project and, where none is configured, a target to the configuration.
func newDemonstration(cfg *config.Config, dir, target string) (*demonstration, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	name := filepath.Base(dir)
	if err := rpmflow.CheckProjectName(name); err != nil {
		return nil, fmt.Errorf("demo: directory %s: %w", dir, err)
	}
	if _, taken := cfg.Project(name); taken {
		return nil, fmt.Errorf("demo: project %q is configured already: push to its repository instead", name)
	}
	if specs, err := filepath.Glob(filepath.Join(dir, "*.spec")); err != nil || len(specs) == 0 {
		return nil, fmt.Errorf("demo: there is no spec in %s", dir)
	}
	if target == "" {
		target = "fedora-43-" + rpmflow.HostArch()
	}
	if len(cfg.Targets) == 0 {
		cfg.Targets = []rpmflow.Target{{Name: target, Arch: rpmflow.ArchOf(target), Config: target, Image: "rpmflow/mock:latest"}}
	}
	d := &demonstration{dir: dir, repo: filepath.Join(cfg.DataDir, "demo", name+".git")}
	d.project = rpmflow.Project{
		Name: name, URL: d.repo, Branches: []string{"main"}, Layout: rpmflow.LayoutAuto, Targets: []string{cfg.Targets[0].Name},
		Secret: rand.Text(), Timeout: time.Hour, Concurrency: 1,
	}
	cfg.Projects = append(cfg.Projects, d.project)
	return d, nil
}

// show pushes and prints what happens until the build is finished.
func (d *demonstration) show(ctx context.Context, cfg *config.Config, out io.Writer) error {
	if err := d.prepare(ctx, cfg); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(out, "$ git push %s main\n", d.repo)
	answer, err := d.push(ctx)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(out, "%s\n", answer)
	c := &client{base: cfg.PublicURL.String(), http: http.DefaultClient}
	var page struct{ Builds []rpmflow.Build }
	commit, err := d.git(ctx, d.repo, "rev-parse", "main")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	for len(page.Builds) == 0 {
		if err := c.call(ctx, http.MethodGet, "/api/v1/builds?commit="+commit, nil, &page); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	b, err := c.wait(ctx, page.Builds[0].ID, func(b rpmflow.Build) { fmt.Fprintln(out, progress(b)) })
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return d.result(ctx, cfg, b, out)
}

func (d *demonstration) result(ctx context.Context, cfg *config.Config, b rpmflow.Build, out io.Writer) error {
	fmt.Fprintln(out)
	if err := printBuild(out, b); err != nil {
		return err
	}
	for _, a := range b.Artifacts {
		if a.Kind == rpmflow.KindRPM {
			fmt.Fprintf(out, "\n%s\n  is at s3://%s/%s\n", a.NEVRA, cfg.S3.Bucket, a.Key)
		}
	}
	event, err := finishedEvent(ctx, cfg, b.ID)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(out, "\nThe finished event, as every subscriber of %s gets it:\n%s\n", events.SubjectFinished, event)
	fmt.Fprintf(out, "\nThe server goes on running at %s; Ctrl-C ends it.\n", cfg.PublicURL)
	return nil
}

func finishedEvent(ctx context.Context, cfg *config.Config, build string) (string, error) {
	nc, js, err := events.Dial(assembly.NATSAccess(cfg, "rpmflow demo"), assembly.Logger(io.Discard, cfg.Log))
	if err != nil {
		return "", err
	}
	defer nc.Close()
	ledger, err := events.NewLedger(ctx, js)
	if err != nil {
		return "", err
	}
	last, err := ledger.LastOf(ctx, build)
	if err != nil {
		return "", err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, last.Raw, "", "  "); err != nil {
		return "", err
	}
	return pretty.String(), nil
}

// prepare makes the bare repository, or takes the one that an earlier run left, and installs the hook.
func (d *demonstration) prepare(ctx context.Context, cfg *config.Config) error {
	if err := os.MkdirAll(filepath.Dir(d.repo), 0o700); err != nil {
		return err
	}
	if _, err := d.git(ctx, "", "init", "--quiet", "--bare", "--initial-branch=main", d.repo); err != nil {
		return err
	}
	hook := filepath.Join(d.repo, "hooks", "post-receive")
	secret := filepath.Join(d.repo, "rpmflow-secret")
	err := errors.Join(
		os.MkdirAll(filepath.Dir(hook), 0o755), os.WriteFile(hook, postReceive, 0o755), os.Chmod(hook, 0o755),
		os.WriteFile(secret, []byte(d.project.Secret), 0o600))
	if err != nil {
		return err
	}
	if _, err := d.git(ctx, d.repo, "config", "rpmflow.url", cfg.PublicURL.String()+"/hooks/generic/"+d.project.Name); err != nil {
		return err
	}
	_, err = d.git(ctx, d.repo, "config", "rpmflow.secretFile", secret)
	return err
}

// push commits the package as it is, even if nothing has changed, and pushes it.
func (d *demonstration) push(ctx context.Context) (string, error) {
	work, err := os.MkdirTemp("", "rpmflow-demo-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := os.CopyFS(filepath.Join(work, "tree"), os.DirFS(d.dir)); err != nil {
		return "", err
	}
	tree := filepath.Join(work, "tree")
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"fetch", "--quiet", d.repo, "+refs/heads/*:refs/remotes/origin/*"},
	} {
		if _, err := d.git(ctx, tree, args...); err != nil {
			return "", err
		}
	}
	if _, err := d.git(ctx, tree, "rev-parse", "--verify", "--quiet", "refs/remotes/origin/main"); err == nil {
		if _, err := d.git(ctx, tree, "reset", "--quiet", "--soft", "refs/remotes/origin/main"); err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{
		{"add", "--all"},
		{"commit", "--quiet", "--allow-empty", "--message", "Demonstration " + time.Now().Format(time.DateTime)},
	} {
		if _, err := d.git(ctx, tree, args...); err != nil {
			return "", err
		}
	}
	return d.git(ctx, tree, "push", d.repo, "HEAD:refs/heads/main")
}

// git runs git without the user's own configuration, which might ask for signatures or run hooks.
func (d *demonstration) git(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir(), "LC_ALL=C.UTF-8", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=rpmflow demo", "GIT_AUTHOR_EMAIL=demo@example.com", "GIT_COMMITTER_NAME=rpmflow demo", "GIT_COMMITTER_EMAIL=demo@example.com",
	}
	raw, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(raw))
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, text)
	}
	return text, nil
}
