package rpmflow

import (
	"path"
	"strings"

	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// Sources is what a project says of its sources beyond repository, layout and spec. It travels with the build's request, so that
// builders need no list of projects.
type Sources struct {
	// Directory holds the package in the repository; empty: the top.
	Directory string `json:"directory,omitempty"`
	// SRPM is the path of the source package that is rebuilt, from the top of the repository; only in layout srpm.
	SRPM string `json:"srpm,omitempty"`
	// SRPMs are patterns of the paths of source packages, from Directory on (package pathmatch); empty: those that lie in Directory itself.
	SRPMs []string `json:"srpms,omitempty"`
	// Fallback is the branch that is taken of one repository of layout split where it has none of the other's name; empty: its HEAD.
	Fallback string `json:"fallback,omitempty"`
	// Substitute is what a spec's template, NAME.spec.in, has replaced.
	Substitute []Substitution `json:"substitute,omitempty"`
	// Lookaside is where the files of a dist-git repository's list are.
	Lookaside string `json:"lookaside,omitempty"`
	// Mirrors are tried, in this order, where a source cannot be had from its own URL: prefixes before the file's name, or templates
	// as of a lookaside.
	Mirrors []string `json:"mirrors,omitempty"`
	// Checksums are of sources that no list in the repository has, as package checksum reads them.
	Checksums []string `json:"checksums,omitempty"`
	// Version is VersionFromGit, or empty: what the spec says.
	Version string `json:"version,omitempty"`
	// VersionTags are patterns of the tags that are versions (package pathmatch); empty: those that begin with a digit, or with v and one.
	VersionTags []string `json:"version_tags,omitempty"`
	// Submodules has the trees of submodules in what is made of a commit's tree; else their directories are empty.
	Submodules bool `json:"submodules,omitempty"`
	// LFS has the content of files that Git LFS keeps elsewhere; else they are refused.
	LFS bool `json:"lfs,omitempty"`
}

// IsSRPM tells source packages by their names, as rpmbuild gives them and as people do.
func IsSRPM(name string) bool {
	name = path.Base(name)
	for _, suffix := range []string{".src.rpm", ".srpm"} {
		if strings.HasSuffix(name, suffix) && name != suffix {
			return true
		}
	}
	return false
}

// TakesSRPM says whether a path of the repository is one at which source packages are looked for.
func (s Sources) TakesSRPM(name string) bool {
	rest := name
	if s.Directory != "" {
		var below bool
		if rest, below = strings.CutPrefix(name, s.Directory+"/"); !below {
			return false
		}
	}
	if len(s.SRPMs) == 0 {
		return IsSRPM(rest) && !strings.Contains(rest, "/")
	}
	return pathmatch.MatchList(s.SRPMs, rest)
}

// SRPMPatterns says in patterns which source packages are looked for.
func (s Sources) SRPMPatterns() []string {
	if len(s.SRPMs) == 0 {
		return []string{"*.src.rpm", "*.srpm"}
	}
	return s.SRPMs
}

// VersionFromGit has Version and Release made of the nearest tag and the commits since.
const VersionFromGit = "from-git"
