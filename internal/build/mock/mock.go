// Package mock is the engine of record: mock in Docker containers, driven through the Docker API.
//
// Each step of a build runs in a container of its own, whose main process is the step: the root is initialised and
// BuildRequires are installed with the network, the spec and the package's code are run without. What one step leaves for the
// next is the container's file system, committed as an image. Files go in and come out as API streams, so the engine need
// not share a file system with the builder. The programs choose it; it imports build for the engine's contract.
package mock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// The labels by which containers and images are found again.
const (
	LabelInstallation = "dev.rpmflow.installation"
	LabelBuild        = "dev.rpmflow.build"
	LabelAttempt      = "dev.rpmflow.attempt"
)

// Settings of the engine.
type Settings struct {
	Host     string   // of the Docker API: unix://, tcp:// or ssh://; empty: as the environment says (DOCKER_HOST)
	CertPath string   // directory of ca.pem, cert.pem and key.pem for TLS; empty: as the environment says (DOCKER_CERT_PATH)
	Network  string   // for the containers that install packages
	Archs    []string // for which the engine must be able to build
	// Limits of one container; zero: none.
	Memory int64
	CPUs   float64
	PIDs   int64
	Disk   int64 // of the engine's; its storage driver's quota or a watcher keeps to it
	// Cache is how many bytes the images that builds share may take; the least recently used go first.
	Cache int64
	// Packages is how many bytes the downloaded packages of one target may take; zero: none are kept.
	Packages int64
	// KeepFresh is how long after its last build a target's root is compared with the repositories ahead of time; zero: never.
	KeepFresh time.Duration
	// AppArmor is the profile; empty: the engine's default, which refuses mock's mounts on AppArmor hosts.
	AppArmor string
	// Installation tells containers of ours from those of another rpmflow on the same engine.
	Installation string
	Logger       *slog.Logger
}

// Engine talks to one Docker engine.
type Engine struct {
	s     Settings
	way   *way
	api   *client.Client
	known atomic.Bool // whether the engine's machine has been looked at
	disk  *disk
	root  atomic.Pointer[string] // the engine's own directory, once it is known

	keeper  keeper
	burials burials
}

const (
	callWait    = 30 * time.Second // one short call of the API
	createWait  = 2 * time.Minute  // the engine makes a container's volumes, and is busy with others
	commitWait  = 10 * time.Minute
	cleanUpWait = time.Minute
)

// New makes the engine; nothing is called yet.
func New(s Settings) (*Engine, error) {
	w, err := newWay(s.Host, s.CertPath, os.Getenv)
	if err != nil {
		return nil, err
	}
	api, err := client.NewClientWithOpts(w.opts...)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("engine mock: client for Docker at %s: %w", w.host, err), "correct builder.docker.host or DOCKER_HOST, and builder.docker.cert_path")
	}
	e := &Engine{s: s, way: w, api: api, burials: newBurials()}
	e.disk = &disk{limit: s.Disk, size: e.size, free: e.free, every: diskEvery}
	return e, nil
}

// Shut removes what is still to be removed, and frees connections.
func (e *Engine) Shut() error {
	e.burials.end()
	e.burials.wait.Wait()
	err := e.api.Close()
	e.way.close()
	return err
}

// Name implements build.Engine.
func (*Engine) Name() string { return "mock" }

// Caveats implements build.Engine.
func (*Engine) Caveats() []string { return nil }

// Ready implements build.Engine.
func (e *Engine) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	e.way.note(nil)
	ping, err := e.api.Ping(ctx)
	if err != nil {
		return e.way.explain(err)
	}
	if err := checkAPI(e.way.host, ping.APIVersion); err != nil {
		return err
	}
	if e.known.Load() {
		return nil
	}
	facts, err := e.Facts(ctx)
	if err != nil {
		return err
	}
	if err := checkMachine(e.way.host, facts.Machine, e.s.Archs); err != nil {
		return err
	}
	e.known.Store(true)
	return nil
}

// Serves implements build.Engine.
func (e *Engine) Serves(ctx context.Context, t rpmflow.Target) error {
	if t.OnHost() {
		return hint.Add(fmt.Errorf("engine mock: target %q is a machine itself, by its name", t.Name), "start a builder with builder.engine: rpmbuild on that machine, or name the target otherwise")
	}
	_, err := e.Image(ctx, t)
	return err
}

// ErrNoImage says that a target's mock image is not on the engine.
var ErrNoImage = errors.New("is not on the engine")

// Image finds the target's image and gives its id.
func (e *Engine) Image(ctx context.Context, t rpmflow.Target) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	info, err := e.api.ImageInspect(ctx, t.Image)
	if errdefs.IsNotFound(err) {
		return "", missingImage(t)
	}
	if err != nil {
		return "", fmt.Errorf("engine mock: target %q: image %s: %w", t.Name, t.Image, err)
	}
	if info.Config != nil {
		for volume := range info.Config.Volumes {
			if strings.HasPrefix("/var/lib/mock/", strings.TrimSuffix(volume, "/")+"/") {
				return "", fmt.Errorf("engine mock: target %q: image %s declares the volume %s: what mock makes there is lost between the steps of a build: build the image without it", t.Name, t.Image, volume)
			}
		}
	}
	return info.ID, nil
}

// Open implements build.Engine.
func (e *Engine) Open(ctx context.Context, job build.Job) (build.Session, error) {
	img, err := e.Image(ctx, job.Target)
	if err != nil {
		return nil, err
	}
	if err := e.trusted(ctx, job.Build); err != nil {
		return nil, err
	}
	config, err := configuration(job.Target, job.Build.Options, job.Epoch)
	if err != nil {
		return nil, err
	}
	return &session{e: e, job: job, image: img, config: config}, nil
}

func (e *Engine) labels(b rpmflow.Build) map[string]string {
	attempt := ""
	if b.ID != "" { // else it is made for no build, and EVENTS knows nothing of it
		attempt = strconv.Itoa(b.Attempt)
	}
	return map[string]string{LabelInstallation: e.s.Installation, LabelBuild: b.ID, LabelAttempt: attempt}
}

// Sweep removes containers and images of this installation that belong to no attempt any more, and images that builds shared as far
// as they are outdated or too many; wanted has read EVENTS.
func (e *Engine) Sweep(ctx context.Context, wanted func(ctx context.Context, build string, attempt int) (bool, error)) error {
	ours := filters.NewArgs(filters.Arg("label", LabelInstallation+"="+e.s.Installation))
	containers, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: ours})
	if err != nil {
		return fmt.Errorf("engine mock: list containers: %w", err)
	}
	unwanted := func(what, id string, running bool, labels map[string]string) (bool, error) {
		attempt, err := strconv.Atoi(labels[LabelAttempt])
		if err != nil {
			return false, nil // not made by us
		}
		keep, err := wanted(ctx, labels[LabelBuild], attempt)
		if err == nil && !keep {
			say := e.s.Logger.Debug // another builder may be about to remove it
			if running {
				say = e.s.Logger.Info
			}
			say("removing what an attempt that is over has left", what, id, "build", labels[LabelBuild], "attempt", attempt)
		}
		return !keep, err
	}
	var errs []error
	for _, c := range containers {
		if e.burials.has(c.ID) {
			continue
		}
		remove, err := unwanted("container", c.ID, c.State == container.StateRunning, c.Labels)
		if c.Labels[LabelAttempt] == "" {
			remove, err = e.orphaned(ctx, c.ID)
		}
		if err == nil && remove {
			err = e.removeContainer(ctx, c.ID)
		}
		errs = append(errs, err)
	}
	images, err := e.api.ImageList(ctx, image.ListOptions{Filters: ours})
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("engine mock: list images: %w", err))...)
	}
	for _, i := range images {
		remove, err := unwanted("image", i.ID, false, i.Labels)
		if err == nil && remove {
			err = e.removeImage(ctx, i.ID)
		}
		errs = append(errs, err)
	}
	removed, err := e.Prune(ctx, e.s.Cache)
	for _, k := range removed {
		e.s.Logger.Info("removed an image that builds shared", "target", k.Target, "image", k.Name, "outdated", k.Outdated, "last_used", k.Used)
	}
	return errors.Join(append(errs, err)...)
}

func (e *Engine) removeContainer(ctx context.Context, id string) error {
	err := e.api.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) { // conflict: somebody else is removing it
		return fmt.Errorf("engine mock: remove container %s: %w", id, err)
	}
	return nil
}

func (e *Engine) removeImage(ctx context.Context, id string) error {
	_, err := e.api.ImageRemove(ctx, id, image.RemoveOptions{Force: true, PruneChildren: true})
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
		return fmt.Errorf("engine mock: remove image %s: %w", id, err)
	}
	return nil
}
