// Package mock is the engine of record: mock in Docker containers, driven through the Docker API.
//
// Each step of a build runs in a container of its own, whose main process is the step: the root is initialised and
// BuildRequires are installed with the network, the spec and the package's code are run without. What one step leaves
// for the next is the container's file system, committed as an image. The programs choose this engine; it imports build
// for the engine's contract, and three rooms of its own: docker (the transport), images (what builds share) and mocklog
// (mock's messages).
package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// Settings of the engine.
type Settings struct {
	Host     string   // of the Docker API: unix://, tcp:// or ssh://; empty: the environment's (DOCKER_HOST)
	CertPath string   // directory of ca.pem, cert.pem and key.pem for TLS; empty: the environment's (DOCKER_CERT_PATH)
	Network  string   // for the containers that install packages
	Archs    []string // for which the engine must be able to build
	// Limits of one container; zero: none.
	Memory int64
	CPUs   float64
	PIDs   int64
	Disk   int64 // of the engine's; its storage driver's quota or a watcher enforces it
	// Cache is how many bytes the images that builds share may take; the least recently used are removed first.
	Cache int64
	// Packages is how many bytes the downloaded packages of one target may take; zero: none are kept.
	Packages int64
	// KeepFresh is how long after its last build a target's root is compared with the repositories ahead of time; zero:
	// never.
	KeepFresh time.Duration
	// AppArmor is the profile; empty: the engine's default, which refuses mock's mounts on AppArmor hosts.
	AppArmor string
	// Installation distinguishes containers of ours from those of another rpmflow on the same engine.
	Installation string
	Logger       *slog.Logger
}

// Engine builds on one Docker engine.
type Engine struct {
	s         Settings
	docker    *docker.Client
	images    *images.Store
	refresher *images.Refresher
	checked   atomic.Bool // whether the engine's machine fits the architectures
}

// New makes the engine; nothing is called yet.
func New(s Settings) (*Engine, error) {
	client, err := docker.New(s.Host, s.CertPath)
	if err != nil {
		return nil, fmt.Errorf("engine mock: %w", err)
	}
	e := &Engine{
		s: s, docker: client,
		images: images.New(client, images.Settings{
			Installation: s.Installation, Packages: s.Packages, Logger: s.Logger}),
	}
	compare := func(ctx context.Context, t rpmflow.Target, o rpmflow.Options) error {
		return e.withoutBuild(ctx, t, o, io.Discard, func(rpmflow.BuildRoot) {})
	}
	e.refresher = images.NewRefresher(s.KeepFresh, compare, s.Logger)
	return e, nil
}

// Shut removes the containers that are still to be removed, and frees connections.
func (e *Engine) Shut() error {
	e.images.Close()
	return e.docker.Close()
}

// Name implements build.Engine.
func (*Engine) Name() string { return "mock" }

// Caveats implements build.Engine.
func (*Engine) Caveats() []string { return nil }

// Ready implements build.Engine.
func (e *Engine) Ready(ctx context.Context) error {
	if err := e.docker.Ping(ctx); err != nil {
		return fmt.Errorf("engine mock: %w", err)
	}
	if e.checked.Load() {
		return nil
	}
	facts, err := e.Facts(ctx)
	if err != nil {
		return err
	}
	if err := checkMachine(facts.Host, facts.Machine, e.s.Archs); err != nil {
		return err
	}
	e.checked.Store(true)
	return nil
}

// Facts asks the container engine about itself, whether Ready accepts it or not.
func (e *Engine) Facts(ctx context.Context) (docker.Facts, error) {
	facts, err := e.docker.Facts(ctx)
	if err != nil {
		return facts, fmt.Errorf("engine mock: %w", err)
	}
	return facts, nil
}

// Disk names a directory on the disk of containers and images if the engine is on this machine; otherwise it is empty.
func (e *Engine) Disk(ctx context.Context) (string, error) { return e.docker.Disk(ctx) }

// Serves implements build.Engine.
func (e *Engine) Serves(ctx context.Context, t rpmflow.Target) error {
	if t.OnHost() {
		return hint.Add(fmt.Errorf("engine mock: the name of target %q means the machine itself", t.Name),
			"start a builder with builder.engine: rpmbuild on that machine, or rename the target")
	}
	_, err := e.Image(ctx, t)
	return err
}

// ErrNoImage means that a target's mock image is not on the engine.
var ErrNoImage = errors.New("is not on the engine")

// Image finds the target's image and returns its id.
func (e *Engine) Image(ctx context.Context, t rpmflow.Target) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, docker.CallWait)
	defer cancel()
	image, err := e.docker.Image(ctx, t.Image)
	if docker.IsNotFound(err) {
		return "", missingImage(t)
	}
	if err != nil {
		return "", fmt.Errorf("engine mock: target %q: %w", t.Name, err)
	}
	for _, volume := range image.Volumes {
		if strings.HasPrefix("/var/lib/mock/", strings.TrimSuffix(volume, "/")+"/") {
			return "", fmt.Errorf("engine mock: target %q: image %s declares the volume %s: what mock makes there is "+
				"lost between the steps of a build: build the image without it", t.Name, t.Image, volume)
		}
	}
	return image.ID, nil
}

// defaultImage is built from a recipe in this repository.
const defaultImage = "rpmflow/mock:latest"

// missingImage returns how to get a target's image.
func missingImage(t rpmflow.Target) error {
	get := "docker pull " + t.Image
	if t.Image == defaultImage {
		get = "docker build --tag " + t.Image +
			" deploy/images/mock, in the top directory of rpmflow's checkout (in deploy/compose: ../images/mock)"
	}
	return hint.Add(fmt.Errorf("image %s %w", t.Image, ErrNoImage),
		get+"; or docker load --input FILE with one that was saved elsewhere; or set the target's image")
}

// machines are the engine's names of the machines on which an architecture of RPM's runs. One that is not here runs on
// the machine of its own name.
func machines(arch string) []string {
	switch arch {
	case "i386", "i486", "i586", "i686":
		return []string{"i386", "i686", "x86_64"}
	case "x86_64_v2", "x86_64_v3", "x86_64_v4":
		return []string{"x86_64"}
	case "armv6hl", "armv7hl", "armhfp":
		return []string{"armv7l", "armv8l", "aarch64"}
	}
	return []string{arch}
}

// checkMachine reports whether the engine can build for all architectures whose builds are taken.
func checkMachine(host, machine string, archs []string) error {
	for _, arch := range archs {
		if !slices.Contains(machines(arch), machine) {
			return hint.Add(fmt.Errorf("engine mock: Docker at %s runs on %s, and cannot build for %s", host, machine,
				arch),
				fmt.Sprintf("set builder.archs to %s, or builder.docker.host to an engine on %s", machine, arch))
		}
	}
	return nil
}

// Open implements build.Engine.
func (e *Engine) Open(ctx context.Context, job build.Job) (build.Session, error) {
	image, err := e.Image(ctx, job.Target)
	if err != nil {
		return nil, err
	}
	if err := e.refuseUntrusted(ctx, job.Build); err != nil {
		return nil, err
	}
	config, err := configuration(job.Target, job.Build.Options, job.Epoch)
	if err != nil {
		return nil, err
	}
	config.repositories = repositoryFiles(job.Build, "")
	return &session{e: e, job: job, image: image, config: config}, nil
}

// refuseUntrusted refuses repositories whose packages' scriptlets would run as root of the engine's machine, unless the
// operator has allowed it.
func (e *Engine) refuseUntrusted(ctx context.Context, b rpmflow.Build) error {
	urls := b.Options.Untrusted()
	if len(urls) == 0 {
		return nil
	}
	facts, err := e.Facts(ctx)
	if err != nil || facts.UserNamespaces {
		return err
	}
	return rpmflow.Fail(rpmflow.FailureDependencies,
		fmt.Sprintf("ask an operator: `trust: true` of the project %q allows it; an engine with user namespaces "+
			"(userns-remap, rootless) needs no trust", b.Project),
		"the project's own repositories (%s) are not used: the scriptlets of their packages would run as root of the "+
			"engine's machine, which has no user namespaces", strings.Join(urls, ", "))
}

// Sweep removes containers and images of this installation that belong to no attempt any more, and the images that
// builds share if they are outdated or take more than the cache; wanted has read EVENTS.
func (e *Engine) Sweep(
	ctx context.Context, wanted func(ctx context.Context, build string, attempt int) (bool, error),
) error {
	if err := e.images.Sweep(ctx, e.s.Cache, wanted); err != nil {
		return fmt.Errorf("engine mock: %w", err)
	}
	return nil
}

// Images are those that the installation's builds share.
func (e *Engine) Images() *images.Store { return e.images }
