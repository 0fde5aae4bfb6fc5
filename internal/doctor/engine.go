package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/build/hostrpm"
	"github.com/rpmflow/rpmflow/internal/build/mock"
	"github.com/rpmflow/rpmflow/internal/config"
)

// engineRoom is what a few builds at once need on the engine's disk.
const engineRoom = 5 << 30

const engineName = "container engine"

// engine looks at what builds run in.
func (e *examination) engine(ctx context.Context, cfg *config.Config) {
	if cfg.Builder.Engine == config.EngineRPMBuild {
		e.rpmbuild(ctx, "builder.engine says so")
		e.hostTargets(cfg)
		return
	}
	m, err := assembly.Docker(cfg, "doctor", slog.New(slog.DiscardHandler))
	if err != nil {
		e.fault(engineName, Failed, err)
		return
	}
	defer func() { _ = m.Shut() }() // only asked
	err = m.Ready(ctx)
	if err != nil && cfg.Builder.Engine == config.EngineAuto && len(cfg.Targets) == 0 { // nobody has a server
		e.fault(engineName, Warning, err)
		e.rpmbuild(ctx, "the container engine cannot be used, and local builds without a target go on without it")
		return
	}
	facts, ferr := m.Facts(ctx)
	switch {
	case err != nil:
		e.fault(engineName, Failed, err)
	case ferr != nil:
		e.fault(engineName, Failed, ferr)
	default:
		e.facts(facts)
		e.untrusted(cfg, facts)
	}
	if err == nil && ferr == nil {
		e.images(ctx, cfg, m)
	}
}

func (e *examination) facts(f mock.Facts) {
	e.ok(engineName, "%s, version %s, API %s, %s, storage %s, cgroup v%s", f.Host, f.Version, f.API, f.Machine, f.Storage, f.Cgroup)
	if u, err := url.Parse(f.Host); f.Plain && err == nil && u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1" {
		e.add(engineName, Warning, f.Host+" is reached without TLS: whoever reaches it too is root there", "use TLS (builder.docker.cert_path) or ssh://")
	}
	if f.UserNamespaces {
		e.ok("user namespaces", "root of a build's container is nobody on the engine's machine")
	} else {
		e.add("user namespaces", Warning, "the engine has none: root of a build's container is root for the kernel, which holds mistakes off, and no attacker who knows the kernel",
			"for packages of people whom you do not trust, start the engine with user namespaces (dockerd --userns-remap=default)")
	}
	switch {
	case f.Free < 0:
		e.skip("engine's disk", "its free space cannot be seen from here")
	case f.Free < engineRoom:
		e.add("engine's disk", Warning, fmt.Sprintf("%d MiB are free", f.Free>>20), "free some space: builds fail when it is full (docker system df, docker image prune)")
	default:
		e.ok("engine's disk", "%d GiB are free", f.Free>>30)
	}
}

// untrusted names the projects whose builds an engine without user namespaces refuses.
func (e *examination) untrusted(cfg *config.Config, f mock.Facts) {
	if f.UserNamespaces {
		return
	}
	for _, p := range cfg.Projects {
		if len(p.Options.Repositories) > 0 && !p.Trust {
			e.add("repositories of "+p.Name, Warning, "the engine has no user namespaces, so builds of the project fail: scriptlets from its own repositories would run as root of the engine's machine",
				"set trust: true for the project if that may be, or use an engine with user namespaces")
		}
	}
}

// images looks for those of the targets that this builder builds for.
func (e *examination) images(ctx context.Context, cfg *config.Config, m *mock.Engine) {
	for _, t := range cfg.Targets {
		name := "image of " + t.Name
		if !slices.Contains(cfg.Builder.Archs, t.Arch) {
			e.skip(name, "other builders build for "+t.Arch)
			continue
		}
		if err := m.Serves(ctx, t); err != nil {
			what, do := rpmflow.Advice(err)
			e.add(name, Failed, what+"; builds wait for it", do)
			continue
		}
		id, err := m.Image(ctx, t)
		if err != nil {
			e.fault(name, Failed, err)
			continue
		}
		e.ok(name, "%s is there (%.19s)", t.Image, id)
	}
}

// hostTargets names the targets whose builds wait for another builder.
func (e *examination) hostTargets(cfg *config.Config) {
	for _, t := range cfg.Targets {
		name := "target " + t.Name
		if !slices.Contains(cfg.Builder.Archs, t.Arch) {
			e.skip(name, "other builders build for "+t.Arch)
		} else if err := hostrpm.Serves(t); err != nil {
			what, do := rpmflow.Advice(err)
			e.add(name, Failed, what+"; its builds wait for another builder", do)
		} else {
			e.ok(name, "is this machine's, as its name says")
		}
	}
}

// rpmbuild looks at the engine without containers.
func (e *examination) rpmbuild(ctx context.Context, why string) {
	const name = "engine rpmbuild"
	host, err := hostrpm.New(ctx, hostrpm.Apart())
	if err != nil {
		e.fault(name, Failed, err)
		return
	}
	e.add(name, Warning, "builds run with the host's rpmbuild, not in a clean root: "+why, "use a container engine where packages are for others")
	for _, c := range host.Caveats() {
		e.add(name, Warning, c, "")
	}
}
