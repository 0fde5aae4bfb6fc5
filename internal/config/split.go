package config

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// directories is a list of target=directory.
func directories(dst *[]rpmflow.TargetDirectory) field {
	used := map[string]bool{}
	return parsed(dst, "list of target=directory", func(s string) (rpmflow.TargetDirectory, error) {
		d, err := parseDirectory(s)
		if err == nil && strings.HasPrefix(d.Target, "!") && !used[d.Directory] {
			err = fmt.Errorf("%s excludes from nothing: write first which targets have that directory, such as %s",
				quote(s), quote("fedora-*="+cmp.Or(d.Directory, ".")))
		}
		used[d.Directory] = true
		return d, err
	})
}

func parseDirectory(s string) (rpmflow.TargetDirectory, error) {
	target, dir, ok := strings.Cut(s, "=")
	if !ok || printable(s) != nil || pathmatch.Check(target, "fedora-*") != nil {
		return rpmflow.TargetDirectory{}, fmt.Errorf("%s is not a target and its directory: "+
			"write target=directory, such as centos-7-x86_64=centos7, "+
			"with a pattern such as fedora-* for many targets", quote(s))
	}
	if dir == "." {
		return rpmflow.TargetDirectory{Target: target}, nil
	}
	return rpmflow.TargetDirectory{Target: target, Directory: dir}, inside(dir, "directory", "or . for the top")
}

func parseSubstitution(s string) (rpmflow.Substitution, error) {
	parsed, err := rpmflow.ParseSubstitution(s)
	return parsed, cmp.Or(printable(s), err)
}

// checkFallback accepts one branch only.
func checkFallback(s string) error {
	if rest, ok := strings.CutPrefix(s, "refs/heads/"); ok {
		return fmt.Errorf("%s is a full ref: write %s", quote(s), quote(rest))
	}
	if strings.ContainsAny(s, " *?[\\~^:") || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") ||
		strings.Contains(s, "..") {
		return fmt.Errorf("%s is not the name of one branch: write one such as main", quote(s))
	}
	return nil
}

// splitOf makes a project that names a packaging repository one of layout split, and sees that layout and keys go
// together.
func (l *loader) splitOf(e entry, p *rpmflow.Project) {
	if e.keys["layout"].bad || e.keys["packaging_url"].bad {
		return
	}
	if p.Packaging.URL != "" {
		switch p.Layout {
		case rpmflow.LayoutAuto:
			p.Layout = rpmflow.LayoutSplit
		case rpmflow.LayoutSplit:
		default:
			l.wrong(e, "packaging_url", "project %q: layout %s has one repository: write layout: split, or remove "+
				"packaging_url", e.name(), p.Layout)
		}
		packaging, _ := giturl.Parse(p.Packaging.URL)
		if u, _ := giturl.Parse(p.URL); u.Same(packaging) {
			l.wrong(e, "packaging_url", "project %q: both repositories are the same: name the one with rpm/SPECS, "+
				"or use layout in-tree", e.name())
		}
		return
	}
	if _, ok := written(e, "packaging_url"); ok {
		return // a bad one, which is reported already
	}
	if p.Layout == rpmflow.LayoutSplit {
		l.wrong(e, "layout", "project %q: layout split needs packaging_url: name the repository with rpm/SPECS",
			e.name())
		return
	}
	for _, key := range []string{"packaging_directories", "packaging_fallback"} {
		if _, ok := written(e, key); ok {
			l.wrong(e, key, "project %q: is set without packaging_url: set that, too", e.name())
		}
	}
}
