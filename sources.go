package rpmflow

// Sources is what a project says of its sources beyond repository, layout and spec. It travels with the build's request, so that
// builders need no list of projects.
type Sources struct {
	// Directory holds the package in the repository; empty: the top.
	Directory string `json:"directory,omitempty"`
	// SRPM is the path of the source package that is rebuilt, from the top of the repository; only in layout srpm.
	SRPM string `json:"srpm,omitempty"`
	// SRPMs are patterns of the paths of source packages, from Directory on (see MatchPath); empty: those that lie in Directory itself.
	SRPMs []string `json:"srpms,omitempty"`
	// Fallback is the branch that is taken of one repository of layout split where it has none of the other's name; empty: its HEAD.
	Fallback string `json:"fallback,omitempty"`
	// Substitute is what a spec's template, NAME.spec.in, has replaced.
	Substitute []Substitution `json:"substitute,omitempty"`
}
