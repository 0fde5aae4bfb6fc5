package config

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// directories is a list of target=directory.
func directories(dst *[]rpmflow.TargetDirectory) field {
	return field{
		typ: "list of target=directory", list: true,
		set: func(in input) error {
			var problems []error
			var all []rpmflow.TargetDirectory
			for _, v := range in.values {
				d, err := parseDirectory(v)
				same := func(o rpmflow.TargetDirectory) bool { return o.Directory == d.Directory }
				if err == nil && strings.HasPrefix(d.Target, "!") && !slices.ContainsFunc(all, same) {
					err = fmt.Errorf("%s excludes from nothing: write first which targets have that directory, "+
						"such as %s", quote(v), quote("fedora-*="+cmp.Or(d.Directory, ".")))
				}
				problems, all = append(problems, err), append(all, d)
			}
			*dst = all
			return errors.Join(problems...)
		},
		get: func() []string {
			var all []string
			for _, d := range *dst {
				all = append(all, d.Target+"="+cmp.Or(d.Directory, "."))
			}
			return all
		},
	}
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
	if !filepath.IsLocal(dir) || path.Clean(dir) != dir {
		return rpmflow.TargetDirectory{}, fmt.Errorf("%s is not a directory inside the repository: "+
			"write it from the repository's top and without .., or . for the top", quote(dir))
	}
	return rpmflow.TargetDirectory{Target: target, Directory: dir}, nil
}

// substitutions is a list of NAME=value.
func substitutions(dst *[]rpmflow.Substitution) field {
	return field{
		typ: "list of NAME=value", list: true,
		set: func(in input) error {
			var problems []error
			var all []rpmflow.Substitution
			for _, v := range in.values {
				s, err := rpmflow.ParseSubstitution(v)
				problems, all = append(problems, cmp.Or(printable(v), err)), append(all, s)
			}
			*dst = all
			return errors.Join(problems...)
		},
		get: func() []string {
			var all []string
			for _, s := range *dst {
				all = append(all, s.String())
			}
			return all
		},
	}
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
			l.problem(e.keys["packaging_url"].from, within(e.scope, "packaging_url"),
				fmt.Errorf("project %q: layout %s has "+
					"one repository: write layout: split, or remove packaging_url", e.name(), p.Layout))
		}
		if giturl.Redact(p.Packaging.URL) == giturl.Redact(p.URL) {
			l.problem(e.keys["packaging_url"].from, within(e.scope, "packaging_url"),
				fmt.Errorf("project %q: both repositories are the same: name the one with rpm/SPECS, or use layout "+
					"in-tree",
					e.name()))
		}
		return
	}
	if g, ok := e.keys["packaging_url"]; ok && len(g.values) > 0 && g.values[0] != "" {
		return // a bad one, which is reported already
	}
	if p.Layout == rpmflow.LayoutSplit {
		l.problem(e.keys["layout"].from, within(e.scope, "layout"), fmt.Errorf("project %q: layout split needs "+
			"packaging_url: name the repository with rpm/SPECS", e.name()))
		return
	}
	for _, key := range []string{"packaging_directories", "packaging_fallback"} {
		if g, ok := e.keys[key]; ok && !g.bad && len(g.values) > 0 && g.values[0] != "" {
			l.problem(g.from, within(e.scope, key), fmt.Errorf("project %q: is set without packaging_url: "+
				"set that, too", e.name()))
		}
	}
}
