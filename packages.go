package rpmflow

import (
	"path"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// PackageSource is one package of a repository: where it is, and which changes build it.
type PackageSource struct {
	Name      string
	Directory string   // of the repository; empty: its top
	Spec      string   // path of the spec, from Directory on; empty: there must be exactly one
	Paths     []string // as Project.Paths, from the repository's top on
}

// PackageSources lists the project's packages: those that are configured, or else the project itself.
func (p Project) PackageSources() []PackageSource {
	if len(p.Packages) > 0 {
		return p.Packages
	}
	return []PackageSource{{Name: p.Name, Directory: p.Sources.Directory, Spec: p.Spec, Paths: p.Paths}}
}

// PackageSource looks a package of the project up by its name.
func (p Project) PackageSource(name string) (PackageSource, bool) {
	list := p.PackageSources()
	i := slices.IndexFunc(list, func(s PackageSource) bool { return s.Name == name })
	if i < 0 {
		return PackageSource{}, false
	}
	return list[i], true
}

// Filter says in patterns for which files the package is built; none: for all changes.
func (s PackageSource) Filter() []string {
	if len(s.Paths) > 0 || s.Directory == "" {
		return s.Paths
	}
	return []string{s.Directory + "/**"}
}

// Touched reports whether one of the changed files is the package's business.
func (s PackageSource) Touched(files []string) bool {
	if len(s.Filter()) == 0 {
		return true
	}
	return slices.ContainsFunc(files, func(f string) bool {
		// a directory's name is not a pattern; it is a file itself if it is a link or a submodule
		if len(s.Paths) == 0 {
			return f == s.Directory || strings.HasPrefix(f, s.Directory+"/")
		}
		return pathmatch.MatchList(s.Paths, f)
	})
}

// SpecPath is the path of the spec from the repository's top on, if it is configured.
func (s PackageSource) SpecPath() string {
	if s.Spec == "" {
		return ""
	}
	return path.Join(s.Directory, s.Spec)
}
