// Package api is the listener's HTTP API as both sides see it: the wire types, the table of routes, and a client.
//
// The table says of each route who may use it, its parameters, answers and errors; the listener makes its handlers'
// routing and authorisation of it, and docs/api.md and the OpenAPI document are generated from it. Listener, hook and
// command line import it; it imports the domain, the list of forges and leaf libraries.
package api

import (
	"time"

	"github.com/rpmflow/rpmflow"
)

// Submission asks for builds of a configured project.
type Submission struct {
	Project  string   `json:"project" doc:"Name of the project."`
	Ref      string   `json:"ref,omitempty" doc:"Branch, tag or full ref; the default branch when empty."`
	Commit   string   `json:"commit,omitempty" doc:"Full commit id; the newest commit of the ref when empty."`
	Packages []string `json:"packages,omitempty" doc:"Packages of the project; all when empty."`
	Targets  []string `json:"targets,omitempty" doc:"Targets; those of the project when empty."`
}

// Cancellation is the body of a request to end a build.
type Cancellation struct {
	By string `json:"by,omitempty" doc:"Who asks, at most 200 bytes; the client's address when empty."`
}

// Push is the answer to a push or a submission.
type Push struct {
	Push      string     `json:"push" doc:"Id of the push."`
	Project   string     `json:"project" doc:"Name of the project."`
	Ref       string     `json:"ref" doc:"Full name of the ref; empty for an uploaded source package."`
	Commit    string     `json:"commit" doc:"Full commit id; empty for an uploaded source package."`
	Duplicate bool       `json:"duplicate" doc:"The same delivery was answered before; this is the first answer again."`
	Builds    []BuildRef `json:"builds" doc:"The builds that the push leads to."`
	Reason    string     `json:"reason,omitempty" doc:"Why there are no builds."`
	NotBuilt  []string   `json:"not_built,omitempty" doc:"Packages that are not built while others are, and why."`
}

// Pushes is the answer to a delivery that changes several refs: each push as if it had come alone, and the sum of all.
type Pushes struct {
	Project   string     `json:"project" doc:"Name of the project."`
	Duplicate bool       `json:"duplicate" doc:"All pushes were answered before."`
	Builds    []BuildRef `json:"builds" doc:"The builds of all pushes."`
	Reason    string     `json:"reason,omitempty" doc:"Why there are no builds at all."`
	Pushes    []Push     `json:"pushes" doc:"The answer to each push."`
}

// BuildRef names a build that was queued.
type BuildRef struct {
	ID      string `json:"id" doc:"Id of the build."`
	Package string `json:"package" doc:"Name of the package."`
	Target  string `json:"target" doc:"Name of the target."`
	URL     string `json:"url" doc:"Address of the build's record."`
}

// Ignored is the answer to a delivery that is not a push.
type Ignored struct {
	Builds []BuildRef `json:"builds" doc:"Always empty."`
	Reason string     `json:"reason" doc:"What the delivery is."`
}

// BuildList is a page of builds, newest first.
type BuildList struct {
	Builds []rpmflow.Build `json:"builds" doc:"Records of builds, newest first."`
	Next   string          `json:"next,omitempty" doc:"Cursor of the next page; missing on the last one."`
}

// ProjectList is the answer to GET /api/v1/projects.
type ProjectList struct {
	Projects []Project `json:"projects" doc:"The configured projects."`
}

// Project is what is public of a configured project: neither a secret nor where one is.
type Project struct {
	Name           string         `json:"name" doc:"Its name."`
	Repository     string         `json:"repository" doc:"Git URL, without credentials."`
	Packaging      string         `json:"packaging_repository,omitempty" doc:"Layout split: repository with the spec."`
	Layout         rpmflow.Layout `json:"layout" doc:"How the repository holds the package."`
	Branches       []string       `json:"branches" doc:"Patterns of the branches whose pushes are built."`
	Tags           []string       `json:"tags" doc:"Patterns of the tags whose pushes are built."`
	Packages       []string       `json:"packages" doc:"Configured packages; empty in layout srpm."`
	Targets        []string       `json:"targets" doc:"Names of the targets that it is built for."`
	Webhooks       bool           `json:"webhooks" doc:"Webhooks are accepted: a secret is set."`
	TimeoutSeconds float64        `json:"timeout_seconds" doc:"Limit of one attempt."`
	Concurrency    int            `json:"concurrency" doc:"Builds that may run at once on one architecture."`
	RepoFiles      []RepoFile     `json:"repo_files" doc:"How to install what is built; empty if it is not published."`
}

// RepoFile is where the packages of a project for a target are installed from.
type RepoFile struct {
	Target string `json:"target" doc:"Name of the target."`
	URL    string `json:"url" doc:"For dnf config-manager --add-repo. It is there once a build has succeeded."`
}

// Directory is a directory of the dnf repositories.
type Directory struct {
	Path    string           `json:"path" doc:"Path below /repos/; empty for that itself."`
	Entries []DirectoryEntry `json:"entries" doc:"What is in it, by name; up to 1000."`
	More    bool             `json:"more" doc:"There is more than that."`
}

// DirectoryEntry is a file or a directory.
type DirectoryEntry struct {
	Name     string    `json:"name" doc:"Its name; that of a directory ends with a slash."`
	Size     int64     `json:"size,omitempty" doc:"Bytes of a file."`
	Modified time.Time `json:"modified,omitzero" doc:"When a file was written."`
}

// TargetList is the answer to GET /api/v1/targets.
type TargetList struct {
	Targets []Target `json:"targets" doc:"The configured targets."`
}

// Target is what everybody may see of a configured target.
type Target struct {
	Name     string   `json:"name" doc:"Its name."`
	Arch     string   `json:"arch" doc:"Architecture."`
	Config   string   `json:"config" doc:"mock's configuration."`
	Image    string   `json:"image" doc:"Container image with mock."`
	Projects []string `json:"projects" doc:"Names of the projects that are built for it."`
}

// Status is the answer of a program that works.
type Status struct {
	Status  string `json:"status" doc:"alive or ready."`
	Version string `json:"version,omitempty" doc:"Version of the program."`
}

// Index is the answer to GET /.
type Index struct {
	Service   string   `json:"service" doc:"Always rpmflow listener."`
	Version   string   `json:"version" doc:"Version of the program."`
	Endpoints []string `json:"endpoints" doc:"Method and path of each route."`
}
