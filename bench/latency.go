package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/api"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/up"
)

// mockSettings say which mock is measured.
type mockSettings struct{ image, configDir, target string }

// complete takes the stand-in image if none is named.
func (m mockSettings) complete(ctx context.Context) (mockSettings, error) {
	if m.image != "" {
		return m, nil
	}
	out, err := exec.CommandContext(ctx, "test/standin/build").Output()
	if err != nil {
		return m, fmt.Errorf("the stand-in image cannot be built: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	m.image, m.target = lines[len(lines)-1], "standin-1-x86_64"
	return m, nil
}

// yaml is the target in the configuration.
func (m mockSettings) yaml() string {
	text := fmt.Sprintf("- name: %s\n  image: %s\n", m.target, m.image)
	if m.configDir != "" {
		text += "  config_dir: " + m.configDir + "\n"
	}
	return text
}

const secret = "bench"

// The package's spec ends in an error: what is measured has happened by then.
const spec = "Name: bench\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\n%description\nd\n%if 1\n"

// latency runs everything with one engine and pushes again and again.
func latency(ctx context.Context, engine, until string, pushes int, dir string, m mockSettings) error {
	commit, err := repository(ctx, filepath.Join(dir, "bench.git"), filepath.Join(dir, "tree"), spec)
	if err != nil {
		return err
	}
	target := "- name: host\n"
	if engine == "mock" {
		target = m.yaml()
	}
	file := filepath.Join(dir, "rpmflow.yaml")
	text := fmt.Sprintf("data_dir: %s/data\nlistener:\n  listen: 127.0.0.1:0\nembedded:\n  nats_listen: "+
		"127.0.0.1:0\n  "+
		"s3_listen: 127.0.0.1:0\nbuilder:\n  engine: %s\ntargets:\n%sprojects:\n- name: bench\n  url: %s/bench.git\n  "+
		"layout: standard\n  secret: %s\n",
		dir, engine, target, dir, secret)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	cfg, err := config.Load(config.Source{File: file, For: config.ForOperator})
	if err != nil {
		return err
	}
	uctx, cancel := context.WithCancel(ctx)
	ready, done := make(chan *config.Config, 1), make(chan error, 1)
	go func() {
		p := up.Program{
			Config: cfg, Version: "bench", Log: slog.New(slog.DiscardHandler),
			Ready: func(c *config.Config) { ready <- c },
		}
		done <- p.Run(uctx, uctx)
	}()
	defer func() { cancel(); <-done }()
	select {
	case cfg = <-ready:
	case err := <-done:
		done <- nil
		return fmt.Errorf("start: %w", err)
	}
	creates, err := watchCreates(uctx, engine)
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range pushes {
		b, err := pushOnce(ctx, cfg.PublicURL.String(), commit, i)
		if err != nil {
			return err
		}
		d, err := untilEngine(b, creates)
		if err != nil {
			return err
		}
		took = append(took, d)
	}
	fmt.Printf("  %-10s %s   to %s\n", engine, quantiles(took, 10*time.Microsecond), until)
	return nil
}

func quantiles(took []time.Duration, precision time.Duration) string {
	slices.Sort(took)
	at := func(q float64) time.Duration {
		return took[min(len(took)-1, int(q*float64(len(took))))].Round(precision)
	}
	return fmt.Sprintf("p50 %8s   p99 %8s", at(0.5), at(0.99))
}

// untilEngine takes the time from the push's receipt to the engine's first call, less the sources phase.
func untilEngine(b rpmflow.Build, creates <-chan time.Time) (time.Duration, error) {
	var fetch float64
	var begun time.Time
	for _, p := range b.Phases {
		switch p.Phase {
		case rpmflow.PhaseSources:
			fetch = p.Seconds
		case rpmflow.PhaseSRPM:
			begun = p.Started // rpmbuild -bs is the phase's first act
		}
	}
	if creates != nil {
		begun = time.Time{}
		for begun.Before(b.QueuedAt) { // of the push's containers the first counts
			select {
			case begun = <-creates:
			case <-time.After(10 * time.Second):
				return 0, errors.New("the engine reports no container")
			}
		}
		for len(creates) > 0 {
			<-creates
		}
	}
	if begun.IsZero() {
		return 0, fmt.Errorf("build %s did not come as far as its engine: %+v", b.ID, b.Outcome)
	}
	return begun.Sub(b.QueuedAt) - time.Duration(fetch*float64(time.Second)), nil
}

// watchCreates reports when the engine has taken a create call for a container of a build.
func watchCreates(ctx context.Context, engine string) (<-chan time.Time, error) {
	if engine != "mock" {
		return nil, nil
	}
	api, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, err
	}
	messages, failures := api.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("event", "create"), filters.Arg("label", images.LabelBuild))})
	creates := make(chan time.Time, 1000)
	go func() {
		defer func() { _ = api.Close() }()
		for {
			select {
			case m := <-messages:
				creates <- time.Unix(0, m.TimeNano)
			case <-failures: // also when ctx ends
				return
			}
		}
	}()
	return creates, nil
}

// pushOnce announces a push and waits for the build's end.
func pushOnce(ctx context.Context, url, commit string, i int) (rpmflow.Build, error) {
	body := fmt.Appendf(nil, `{"ref":"refs/heads/main","before":"","after":"%s","delivery":"bench-%d-%d"}`, commit, i,
		time.Now().UnixNano())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/hooks/generic/bench", bytes.NewReader(body))
	if err != nil {
		return rpmflow.Build{}, err
	}
	req.Header.Set(forge.GenericSignature, forge.Sign(secret, body))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return rpmflow.Build{}, err
	}
	defer func() { _ = res.Body.Close() }()
	var answer api.Push
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Builds) != 1 {
		return rpmflow.Build{}, fmt.Errorf("push %d: %s, %d builds: %w", i, res.Status, len(answer.Builds), err)
	}
	return api.NewClient(url, "").Wait(ctx, answer.Builds[0].ID, func(rpmflow.Build) {})
}

func repository(ctx context.Context, bare, tree, spec string) (commit string, err error) {
	if err := errors.Join(os.MkdirAll(tree, 0o755), os.WriteFile(filepath.Join(tree, "bench.spec"), []byte(spec),
		0o600)); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"init", "-q", "--bare", "-b", "main", bare}, {"-C", tree, "init", "-q", "-b", "main"},
		{"-C", tree, "add", "."},
		{"-C", tree, "-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "Bench"},
		{"-C", tree, "push", "-q", bare, "main"},
	} {
		if out, err := exec.CommandContext(ctx, "git", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("git %v: %w: %s", args, err, out)
		}
	}
	out, err := exec.CommandContext(ctx, "git", "-C", bare, "rev-parse", "main").Output()
	return strings.TrimSpace(string(out)), err
}
