package rpmflow

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// Sources is what a project says of its sources beyond repository, layout and spec. It travels with the build's
// request, so that builders need no list of projects.
type Sources struct {
	// Directory holds the package in the repository; empty: the top.
	Directory string `json:"directory,omitempty"`
	// SRPM is the path of the source package that is rebuilt, from the top of the repository; only in layout srpm.
	SRPM string `json:"srpm,omitempty"`
	// SRPMs are patterns of the paths of source packages, from Directory on (package pathmatch); empty: those that are
	// in Directory itself.
	SRPMs []string `json:"srpms,omitempty"`
	// Fallback is the branch that is taken of one repository of layout split if it has none of the other's name; empty:
	// its HEAD.
	Fallback string `json:"fallback,omitempty"`
	// Substitute is what a spec's template, NAME.spec.in, has replaced.
	Substitute []Substitution `json:"substitute,omitempty"`
	// Lookaside is where the files of a dist-git repository's list are.
	Lookaside string `json:"lookaside,omitempty"`
	// Mirrors are tried, in this order, if a source cannot be fetched from its own URL: prefixes before the file's
	// name, or templates as in a lookaside.
	Mirrors []string `json:"mirrors,omitempty"`
	// Checksums are of sources that no list in the repository has, as package checksum reads them.
	Checksums []string `json:"checksums,omitempty"`
	// Version is VersionFromGit, or empty: what the spec says.
	Version string `json:"version,omitempty"`
	// VersionTags are patterns of the tags that are versions (package pathmatch); empty: those that begin with a digit,
	// or with v and one.
	VersionTags []string `json:"version_tags,omitempty"`
	// Submodules has the trees of submodules in what is made of a commit's tree; else their directories are empty.
	Submodules bool `json:"submodules,omitempty"`
	// LFS has the content of files that Git LFS keeps elsewhere; else they are refused.
	LFS bool `json:"lfs,omitempty"`
}

// IsSRPM reports whether a file is a source package by its name, as rpmbuild and people choose them. One that
// lacks sources (.nosrc.rpm) does not count: only local builds take it.
func IsSRPM(name string) bool {
	name = path.Base(name)
	for _, suffix := range []string{".src.rpm", ".srpm"} {
		if strings.HasSuffix(name, suffix) && name != suffix {
			return true
		}
	}
	return false
}

// TakesSRPM reports whether a path of the repository is one at which source packages are looked for.
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

// Substitution is what stands for @NAME@ in the template of a spec.
type Substitution struct {
	Name string `json:"name"`
	// Value is plain text, in which SubstitutionFacts stand for what is known of the commit.
	Value string `json:"value"`
}

// SubstitutionFacts are what a value can refer to.
var SubstitutionFacts = []string{"{version}", "{commit}", "{short}", "{branch}", "{tag}"}

// SubstitutionFact finds one of them in a value.
var SubstitutionFact = regexp.MustCompile(`\{[a-z]+\}`)

var substitutionName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// ParseSubstitution reads NAME=value.
func ParseSubstitution(s string) (Substitution, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || !substitutionName.MatchString(name) {
		return Substitution{}, fmt.Errorf("%q is not a name and its value: write NAME=value, such as "+
			"VERSION={version}, "+
			"for @VERSION@", s)
	}
	if strings.ContainsAny(value, "%\n\r\x00") {
		return Substitution{}, fmt.Errorf("%q has a %% or a line break in its value, which rpm would interpret: "+
			"write plain text", s)
	}
	for _, fact := range SubstitutionFact.FindAllString(value, -1) {
		if !slices.Contains(SubstitutionFacts, fact) {
			return Substitution{}, fmt.Errorf("%q: %s is not known; known are %s", s, fact,
				strings.Join(SubstitutionFacts, ", "))
		}
	}
	return Substitution{Name: name, Value: value}, nil
}

// String is NAME=value.
func (s Substitution) String() string { return s.Name + "=" + s.Value }

// Origin is where a source that is not in git came from.
type Origin string

// The origins.
const (
	OriginCache     Origin = "cache" // our own storage, where an earlier build has put it
	OriginLookaside Origin = "lookaside"
	OriginDownload  Origin = "download"
)

// SourceFile is a source of a build that is not in git.
type SourceFile struct {
	Name   string `json:"name"`
	URL    string `json:"url"` // without credentials
	SHA512 string `json:"sha512"`
	Size   int64  `json:"size"`
	Origin Origin `json:"origin"`
}

// SourcePackage is a source package that was uploaded to the listener, and is built instead of a commit.
type SourcePackage struct {
	Name   string `json:"name"` // of its file, as rpmbuild would have called it
	NEVRA  string `json:"nevra"`
	SHA512 string `json:"sha512"` // under which the storage has it
	Size   int64  `json:"size"`
}
