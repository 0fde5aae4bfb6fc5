package rpmflow

import (
	"cmp"
	"net/url"
	"slices"

	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// Layout is how a repository holds a package.
type Layout string

// The layouts: Layouts is the table of them.
const (
	LayoutAuto     Layout = "auto"
	LayoutStandard Layout = "standard"
	LayoutDistGit  Layout = "dist-git"
	LayoutInTree   Layout = "in-tree"
	LayoutSRPM     Layout = "srpm"
	LayoutSplit    Layout = "split"
)

// LayoutFacts is a row of the table of layouts.
type LayoutFacts struct {
	Layout  Layout
	Meaning string // what the repository has, for documents and help
	Archive bool   // Source0 is made of a commit's tree by git archive
}

// Layouts are what a project may say. Configuration, documents, help and hints are made of this table; a test compares
// it with the schema of events. How a layout finds spec and sources is in the table of internal/source/layout.go.
var Layouts = []LayoutFacts{
	{LayoutAuto, "one of the others, decided from the tree", false},
	{LayoutStandard, "a spec and its sources, side by side or in SPECS and SOURCES", false},
	{LayoutDistGit, "a spec, and a list of files in a lookaside", false},
	{LayoutInTree, "the spec in its own source tree; git archive makes Source0 from it", true},
	{LayoutSRPM, "source packages, each of which is rebuilt", false},
	{LayoutSplit, "the source tree; the spec is in another repository, packaging_url", true},
}

// LayoutNames are the names in Layouts.
func LayoutNames() []string {
	var names []string
	for _, l := range Layouts {
		names = append(names, string(l.Layout))
	}
	return names
}

// Archive reports whether Source0 is made of a commit's tree.
func (l Layout) Archive() bool {
	return slices.ContainsFunc(Layouts, func(f LayoutFacts) bool { return f.Layout == l && f.Archive })
}

// Half is one of the two repositories of layout split.
type Half string

// The halves: the unpacked source, and what packages it.
const (
	HalfSource    Half = "source"
	HalfPackaging Half = "packaging"
)

// Packaging is the repository of a project of layout split that has spec and patches.
type Packaging struct {
	URL  string        // without credentials
	User *url.Userinfo // as Project.User
	// Directories say where a target's package is in it; the first that takes it counts. A target without one has it at
	// the top.
	Directories []TargetDirectory
}

// TargetDirectory is the directory for all targets of a pattern.
type TargetDirectory struct {
	Target    string // pattern; with ! before it, what it takes away from those with the same directory before it
	Directory string // empty: the top
}

// String is target=directory.
func (d TargetDirectory) String() string { return d.Target + "=" + cmp.Or(d.Directory, ".") }

// Directory is where the target's package is.
func (p Packaging) Directory(target string) string {
	for i, d := range p.Directories {
		if pathmatch.Match(d.Target, target) && pathmatch.MatchList(patternsOf(p.Directories[i:], d.Directory),
			target) {
			return d.Directory
		}
	}
	return ""
}

func patternsOf(directories []TargetDirectory, directory string) (patterns []string) {
	for _, d := range directories {
		if d.Directory == directory {
			patterns = append(patterns, d.Target)
		}
	}
	return patterns
}

// Revision is a commit of a repository, and the ref that it was found under.
type Revision struct {
	Repository string `json:"repository"` // git URL without credentials
	Ref        string `json:"ref,omitempty"`
	Commit     string `json:"commit,omitempty"`
}

// Split is what a build of layout split is made of. The commit of the half that was not pushed to is decided when the
// sources are fetched for the first time; once it is in the record, every attempt, and every repetition of the build,
// takes the same.
type Split struct {
	Pushed    Half     `json:"pushed"`
	Source    Revision `json:"source"`
	Packaging Revision `json:"packaging"`
}

// Halves are the half that was pushed to and the other one.
func (s *Split) Halves() (pushed, other *Revision) {
	if s.Pushed == HalfPackaging {
		return &s.Packaging, &s.Source
	}
	return &s.Source, &s.Packaging
}
