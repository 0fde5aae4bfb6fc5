package mock

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/netrule"
)

const (
	checkName = "container engine"
	// checkDisk is what a few builds at once need on the engine's disk.
	checkDisk = 5 << 30
)

// Check looks at the container engine, and whether it can build for these targets and projects. repositories is the URL
// of what is published.
func (e *Engine) Check(
	ctx context.Context, f *doctor.Findings, targets []rpmflow.Target, projects []rpmflow.Project, repositories string,
) {
	if err := e.Ready(ctx); err != nil {
		f.Error(checkName, doctor.Failed, err)
		return
	}
	facts, err := e.Facts(ctx)
	if err != nil {
		f.Error(checkName, doctor.Failed, err)
		return
	}
	checkFacts(f, facts)
	if !facts.UserNamespaces {
		checkTrust(f, projects)
	}
	e.checkOwn(ctx, f, projects, repositories)
	for _, t := range targets {
		e.checkImage(ctx, f, t)
	}
}

func checkFacts(f *doctor.Findings, facts docker.Facts) {
	f.OK(checkName, "%s, version %s, API %s, %s, storage %s, cgroup v%s",
		facts.Host, facts.Version, facts.API, facts.Machine, facts.Storage, facts.Cgroup)
	u, err := url.Parse(facts.Host)
	if facts.Plain && err == nil && !netrule.Loopback(u.Host) {
		f.Add(checkName, doctor.Warning, facts.Host+" is reached without TLS: everybody who can reach it is root there",
			"use TLS (builder.docker.cert_path) or ssh://")
	}
	if facts.UserNamespaces {
		f.OK("user namespaces", "root of a build's container is nobody on the engine's machine")
	} else {
		f.Add("user namespaces", doctor.Warning,
			"the engine has none: root of a build's container is root for the kernel; "+
				"this stops mistakes, but not attacks on the kernel",
			"for packages of people whom you do not trust, start the engine with user namespaces (dockerd "+
				"--userns-remap=default)")
	}
	const disk = "engine's disk"
	switch {
	case facts.Free < 0:
		f.Skip(disk, "its free space cannot be seen from here")
	case facts.Free < checkDisk:
		f.Add(disk, doctor.Warning, fmt.Sprintf("%d MiB are free", facts.Free>>20),
			"free some space: builds fail when it is full (docker system df, docker image prune)")
	default:
		f.OK(disk, "%d GiB are free", facts.Free>>30)
	}
}

// checkTrust names the projects whose builds an engine without user namespaces refuses.
func checkTrust(f *doctor.Findings, projects []rpmflow.Project) {
	for _, p := range projects {
		if (len(p.Options.Repositories) > 0 || p.Options.UseOwnRepository) && !p.Trust {
			f.Add("repositories of "+p.Name, doctor.Warning,
				"the engine has no user namespaces, so builds of the project fail: "+
					"scriptlets from its own repositories would run as root of the engine's machine",
				"set trust: true for the project if you accept that, or use an engine with user namespaces")
		}
	}
}

// checkImage looks for the image of a target of this engine's architectures.
func (e *Engine) checkImage(ctx context.Context, f *doctor.Findings, t rpmflow.Target) {
	name := "image of " + t.Name
	if !slices.Contains(e.s.Archs, t.Arch) {
		f.Skip(name, "other builders build for "+t.Arch)
		return
	}
	if err := e.Serves(ctx, t); err != nil {
		what, do := hint.Split(err)
		f.Add(name, doctor.Failed, what+"; builds wait for it", do)
		return
	}
	id, err := e.Image(ctx, t)
	if err != nil {
		f.Error(name, doctor.Failed, err)
		return
	}
	f.OK(name, "%s is there (%.19s)", t.Image, id)
}
