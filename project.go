package rpmflow

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// Project is what an operator has configured to be built.
type Project struct {
	Name     string
	URL      string   // the git repository, without credentials
	Branches []string // patterns (package pathmatch); a push to any other branch builds nothing
	Tags     []string // patterns of tags that are built; none by default
	Layout   Layout
	Spec     string // path of the spec, from Sources.Directory on; empty: there must be exactly one
	// Paths are patterns of files whose change builds the project (package pathmatch); empty: all below
	// Sources.Directory.
	Paths []string
	// Packages are those of a repository with several; without them the project is its one package.
	Packages []PackageSource
	Sources  Sources
	Options  Options
	// Trust lets scriptlets of the packages in the project's own repositories, also in its published one, run as root
	// of an engine without user namespaces.
	Trust   bool
	Targets []string
	Secret  string // of its webhooks; empty: webhooks are refused
	// User, over http and https, Token, SSHKeyFile and KnownHostsFile let us read the repository; they never travel.
	User                              *url.Userinfo
	Token, SSHKeyFile, KnownHostsFile string
	Timeout                           time.Duration
	// Concurrency is how many builds of the project may run at once on one architecture.
	Concurrency int
	// Packaging is the other repository of layout split; URL is that of the source.
	Packaging Packaging
	Publish   Publish
}

// Publish is what a project allows in its dnf repositories, and what stays in them.
type Publish struct {
	On          bool
	Replace     bool          // a package may replace one of the same name and version with other content
	RefuseLower bool          // a package must not be older than the newest of its name
	Keep        int           // builds of a package; 0: all
	KeepAge     time.Duration // builds that are younger are kept besides; 0: none
	Together    bool          // all builds of a push are published at once, or none of them
}

// Target is one build root: a distribution, its version and architecture.
type Target struct {
	Name string
	Arch string
	// Config is the mock configuration: a name that the image ships (fedora-42-x86_64), or the path of a .cfg file of
	// ours.
	Config string
	// ConfigDir, when set, replaces the image's /etc/mock as mock's configuration directory.
	ConfigDir string
	Image     string // container image with mock in it
	// MaxAge is how long ago a build's root may have been compared with the repositories.
	MaxAge time.Duration
	// AllowStale lets builds go on with the root that there is when the repositories cannot be asked.
	AllowStale bool
	// Options hold for all builds of the target. They are the operator's own, and its repositories are trusted.
	Options Options
}

// OnHost reports whether the target is the machine that builds it, by its name: host, or host-…. Only the engine
// rpmbuild builds for such targets, and for no others.
func (t Target) OnHost() bool { return t.Name == "host" || strings.HasPrefix(t.Name, "host-") }

// OptionsFor is what a build of the project for the target is asked for.
func (p Project) OptionsFor(t Target) Options {
	o := p.Options
	if p.Trust {
		o = o.Trust()
	}
	return o.Over(t.Options.Trust())
}

// Wants decides whether a push to ref is built, and if not, why in words for the packager.
func (p Project) Wants(ref string) (reason string, ok bool) {
	kind, short, patterns := "", "", []string(nil)
	switch {
	case strings.HasPrefix(ref, "refs/heads/"):
		kind, short, patterns = "branch", strings.TrimPrefix(ref, "refs/heads/"), p.Branches
	case strings.HasPrefix(ref, "refs/tags/"):
		kind, short, patterns = "tag", strings.TrimPrefix(ref, "refs/tags/"), p.Tags
	default:
		return fmt.Sprintf("%s is neither a branch nor a tag: only refs/heads/… and refs/tags/… are built", ref), false
	}
	if pathmatch.MatchList(patterns, short) {
		return "", true
	}
	if len(patterns) == 0 {
		return fmt.Sprintf("%s %q is not built: project %q is configured for no %s", kind, short, p.Name, plural(kind)),
			false
	}
	return fmt.Sprintf("%s %q is not built: project %q builds %s %s only", kind, short, p.Name, plural(kind),
		strings.Join(patterns, ", ")), false
}

func plural(kind string) string {
	if kind == "branch" {
		return "branches"
	}
	return kind + "s"
}
