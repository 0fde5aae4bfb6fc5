package rpmflow

// Sources is what a project says of its sources beyond repository, layout and spec. It travels with the build's request, so that
// builders need no list of projects.
type Sources struct {
	// Directory holds the package in the repository; empty: the top.
	Directory string `json:"directory,omitempty"`
}
