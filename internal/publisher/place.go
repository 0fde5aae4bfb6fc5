package publisher

import (
	"fmt"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Kind is which packages of a target a repository has.
type Kind string

// The kinds. Debuginfo is what debuggers need; most machines want neither that nor sources.
const (
	Binary Kind = ""
	Debug  Kind = "debuginfo"
	Source Kind = "source"
)

// kinds in the order in which they are published: packages appear after what belongs to them.
func kinds() []Kind { return []Kind{Source, Debug, Binary} }

// Place is where a repository is.
type Place struct {
	Project, Target string
	Kind            Kind
}

// Path is the repository's directory below repos/ of the bucket, and below /repos/ of the listener.
func (p Place) Path() string {
	path := p.Project + "/" + p.Target
	if p.Kind != Binary {
		path += "/" + string(p.Kind)
	}
	return path
}

func (p Place) key(name string) string { return storage.RepositoriesPrefix + p.Path() + "/" + name }

// command is how an operator does something about the repository: rpmflow repo rebuild, with the words after.
func (p Place) command(do string, rest ...string) string {
	words := append([]string{"rpmflow repo", do, p.Project, p.Target}, rest...)
	if p.Kind != Binary {
		words = append(words, "--kind", string(p.Kind))
	}
	return strings.Join(words, " ")
}

// ID is what dnf calls the repository.
func (p Place) ID() string {
	id := "rpmflow-" + p.Project
	if p.Kind != Binary {
		id += "-" + string(p.Kind)
	}
	return id
}

// URL is where users find a repository, without a slash at its end.
func (p *Publisher) URL(place Place) string { return p.o.URL + "/" + place.Path() }

// RevisionURL is where a revision is found as long as it is kept.
func (p *Publisher) RevisionURL(place Place, r repo.Revision) string {
	return p.URL(place) + "/" + place.revision(r) + "/"
}

// RepoFileURL is the file that dnf config-manager --add-repo takes: all kinds of repositories are in one.
func (p *Publisher) RepoFileURL(place Place) string {
	place.Kind = Binary
	return p.URL(place) + "/" + place.Project + ".repo"
}

func (p Place) revision(r repo.Revision) string { return "r/" + r.Name() }

// kindOf sorts the packages of a build; false: it does not belong into a repository.
func kindOf(a rpmflow.Artifact) (Kind, bool) {
	name, _, _ := strings.Cut(a.Name, "-debuginfo-")
	switch {
	case a.Kind == rpmflow.KindSRPM:
		return Source, true
	case a.Kind != rpmflow.KindRPM:
		return "", false
	case name != a.Name, strings.Contains(a.Name, "-debugsource-"):
		return Debug, true
	}
	return Binary, true
}

// repoFile is what dnf config-manager --add-repo takes. base is where the project's target is served.
func repoFile(p Place, base string, there []Kind) string {
	var b strings.Builder
	for _, kind := range there {
		p.Kind = kind
		url, enabled, what := base, 1, ""
		if kind != Binary {
			url, enabled, what = base+"/"+string(kind), 0, ", "+string(kind)
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		// metadata_expire: dnf would ask for news after two days.
		fmt.Fprintf(&b, "[%s]\nname=%s for %s%s\nmirrorlist=%s/mirrorlist\nenabled=%d\ngpgcheck=1\nrepo_gpgcheck=1\n"+
			"gpgkey=%s/RPM-GPG-KEY-%s\nmetadata_expire=1h\n", p.ID(), p.Project, p.Target, what, url, enabled, base,
			p.Project)
	}
	return b.String()
}
