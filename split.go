package rpmflow

import (
	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// Half is one of the two repositories of layout split.
type Half string

// The halves: the unpacked source, and what packages it.
const (
	HalfSource    Half = "source"
	HalfPackaging Half = "packaging"
)

// Packaging is the repository of a project of layout split that has spec and patches.
type Packaging struct {
	URL string // may hold credentials, so it never travels
	// Directories say where a target's package is in it; the first that takes it counts. A target without one has it at
	// the top.
	Directories []TargetDirectory
}

// TargetDirectory is the directory for all targets of a pattern.
type TargetDirectory struct {
	Target    string // pattern; with ! before it, what it takes away from those with the same directory before it
	Directory string // empty: the top
}

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
