package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/netrule"
	"github.com/rpmflow/rpmflow/internal/osrelease"
)

// targets makes the targets of the file's entries.
func (l *loader) targets(entries []entry) []rpmflow.Target {
	out := make([]rpmflow.Target, 0, len(entries))
	for _, e := range entries {
		var t rpmflow.Target
		l.apply(e.scope, targetSettings(&t), e.keys)
		if t.Arch == "" {
			t.Arch = rpmflow.ArchOf(t.Name)
		}
		if t.Config == "" {
			t.Config = t.Name
		}
		out = append(out, t)
	}
	l.duplicates(entries)
	return out
}

// names lists the entries' names.
func names(entries []entry) (all []string) {
	for _, e := range entries {
		if name := e.name(); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// projects makes the projects of the file's entries; without targets of its own a project is built for all that are
// defined.
func (l *loader) projects(entries []entry, defined []string) []rpmflow.Project {
	out := make([]rpmflow.Project, 0, len(entries))
	for _, e := range entries {
		var p rpmflow.Project
		l.apply(e.scope, projectSettings(&p, l), e.keys)
		l.splitOf(e, &p)
		if g, ok := e.keys["targets"]; !ok {
			p.Targets = slices.Clone(defined)
			if len(defined) == 0 {
				l.warn("project %q: no target is defined, so nothing will be built: define one under targets", p.Name)
			}
		} else if !g.bad {
			l.targetsOf(e, p, defined)
		}
		l.packages(e, &p)
		l.ownRepository(e, p)
		out = append(out, p)
	}
	l.duplicates(entries)
	return out
}

func (l *loader) targetsOf(e entry, p rpmflow.Project, defined []string) {
	if len(p.Targets) == 0 {
		l.wrong(e, "targets", "project %q: the list is empty, so nothing would be built: name a target, or remove the "+
			"key for all", e.name())
	}
	known := strings.Join(defined, ", ")
	if known == "" {
		known = "none"
	}
	for i, t := range p.Targets {
		if t != "" && !slices.Contains(defined, t) {
			l.wrong(e, "targets", "project %q: target %s is not defined; defined are: %s", e.name(), quote(t), known)
		}
		if slices.Contains(p.Targets[:i], t) {
			l.wrong(e, "targets", "project %q: target %s is listed twice: remove one", e.name(), quote(t))
		}
	}
}

// ownRepository checks that there can be something in the repository that builds of the project are to use, and that
// they can use it.
func (l *loader) ownRepository(e entry, p rpmflow.Project) {
	const key = "use_own_repository"
	if !p.Options.UseOwnRepository {
		return
	}
	if !p.Publish.On {
		l.wrong(e, key, "project %q: publish is false, so nothing would be in its repository: remove one of the two",
			e.name())
	}
	for _, t := range p.Targets {
		if (rpmflow.Target{Name: t}).OnHost() {
			l.wrong(e, key, "project %q: target %s is a machine with its own rpmbuild, which installs no "+
				"BuildRequires: remove the key, or list other targets", e.name(), quote(t))
		}
	}
}

func (l *loader) duplicates(entries []entry) {
	first := map[string]string{}
	for _, e := range entries {
		name := e.name()
		if name == "" {
			continue
		}
		if other, ok := first[name]; ok {
			l.wrong(e, "name", "%s is already the name of %s: rename or remove one", quote(name), other)
			continue
		}
		first[name] = e.scope
	}
}

var notInHostName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// together sets defaults that depend on the machine, and checks keys that depend on each other.
func (l *loader) together(c *Config) {
	if c.Builder.Name == "" {
		host, err := os.Hostname()
		host = strings.Trim(notInHostName.ReplaceAllString(host, "-"), "-._")
		if err != nil || host == "" {
			host = "builder"
		}
		c.Builder.Name = host
	}
	if len(c.Builder.Archs) == 0 {
		c.Builder.Archs = []string{rpmflow.HostArch()}
	}

	if c.PublicURL == nil {
		c.PublicURL = LocalURL(c.Listener.Listen)
	}

	var ways []string
	for _, way := range []struct {
		key string
		set bool
	}{
		{"nats.user", c.NATS.User != ""}, {"nats.token", c.NATS.Token != ""}, {"nats.nkey", c.NATS.NKey != ""},
		{"nats.credentials", c.NATS.Credentials != ""},
	} {
		if way.set {
			ways = append(ways, way.key)
		}
	}
	if len(ways) > 1 {
		l.problem(place{}, "nats", fmt.Errorf("%s are all set: keep one way to log in", strings.Join(ways, ", ")))
	}
	if c.NATS.Password != "" && c.NATS.User == "" {
		l.problem(place{}, "nats.password", errors.New("is set without nats.user: set both"))
	}
	if (c.Gateway.CertFile == "") != (c.Gateway.KeyFile == "") {
		l.problem(place{}, "gateway", errors.New("only one of gateway.cert_file and gateway.key_file is set: "+
			"set both or none"))
	}
	if (c.S3.AccessKey == "") != (c.S3.SecretKey == "") {
		l.problem(place{}, "s3", errors.New("only one of s3.access_key and s3.secret_key is set: set both or none"))
	}
}

// engines warns about targets that a builder with this configuration cannot build for.
func (l *loader) engines(c *Config) {
	if l.program != ForOperator && l.program != ForBuilder {
		return // it has no builder
	}
	host := c.Builder.Engine == EngineRPMBuild
	for _, t := range c.Targets {
		switch {
		case t.OnHost() == host || !slices.Contains(c.Builder.Archs, t.Arch):
		case host:
			l.warn("target %q: builder.engine is rpmbuild, which builds for targets named host or host-… only, so its "+
				"builds wait for another builder: set builder.engine to mock, or define the target %s", t.Name,
				rpmflow.HostTarget(osrelease.Read()).Name)
		default:
			l.warn("target %q: by its name it is built by a machine's own rpmbuild, so its builds wait for a builder "+
				"there with builder.engine: rpmbuild; this one has %s", t.Name, c.Builder.Engine)
		}
	}
}

// LocalURL is where a client on this machine reaches what listens on address.
func LocalURL(address string) *url.URL {
	return &url.URL{Scheme: "http", Host: netrule.Reachable(address)}
}
