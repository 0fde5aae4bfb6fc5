// Package build is one build from request to outcome: its phases, the engines that carry them out, and the rules by
// which a failure is the packager's or ours.
//
// A build record and its target come in; artifacts in S3 and the record with its outcome go out. The builder imports
// it; the engines (build/mock, build/hostrpm) are packages of their own without queues and events.
package build

import (
	"context"
	"io"
	"time"

	"github.com/rpmflow/rpmflow"
)

// Job is one attempt as an engine needs it.
type Job struct {
	Build  rpmflow.Build
	Target rpmflow.Target
	// Epoch is the commit's time: with it the same commit leads to the same bytes.
	Epoch time.Time
	// Dir is an empty directory of this attempt, where the engine puts results and logs.
	Dir string
	// Sources is the directory of the sources that a source package may have been made without (NoSource, NoPatch).
	Sources string
	// Log takes the output that people watch live. It never fails and never blocks for long.
	Log io.Writer
	// OnContainer is called with the id of each container before it starts.
	OnContainer func(id string)
	// Note adds a remark for the packager to the build's record; nil: remarks are dropped.
	Note func(remark string)
	// OnRoot is called with what the build root was made from, by engines that have it.
	OnRoot func(rpmflow.BuildRoot)
}

// Engine makes RPMs. Its methods may be called from several goroutines.
type Engine interface {
	// Name is mock or rpmbuild.
	Name() string
	// Caveats says in words for the packager which promises this engine cannot keep; usually nothing.
	Caveats() []string
	// Ready reports whether builds could begin now, for any target, and if not, what is missing and how to fix it.
	Ready(ctx context.Context) error
	// Serves reports whether builds of this target could begin now, and if not, what is missing and what to do about
	// it: its image, for instance. Such builds wait. It is called before each claim, when the engine was Ready a moment
	// ago.
	Serves(ctx context.Context, t rpmflow.Target) error
	// Open begins the work on one attempt. Nothing must be undone when it fails.
	Open(ctx context.Context, job Job) (Session, error)
}

// Unchecker is implemented by engines that cannot check everything.
type Unchecker interface {
	// Unchecked names what is not checked for outcomes: BuildRequires.
	Unchecked() []string
}

// Explorer is a session in which a user can look around after a failed step, on the terminal that standard input and
// output are. Both engines have it; it is not part of the contract.
type Explorer interface {
	Explore(ctx context.Context) error
}

// Warmer is implemented by engines whose roots can be made ready before a build asks for them.
type Warmer interface {
	// Warm makes the root of the job's target ready, as Session.Root does. It is called while the build's sources are
	// fetched; Root reports what it could not do.
	Warm(ctx context.Context, job Job) error
}

// Session is one attempt in an engine. The steps are called in this order; after a failed step only Logs and Close are.
// Query and SRPM are left out if a source package is there already; that comes from outside, and its name is a safe
// one.
//
// A step's error is a *rpmflow.Failure when it is the packager's, and a *rpmflow.Skip (NotFor) when rpm refuses the
// spec for the target. Any other error is the infrastructure's and leads to another attempt. When ctx ends, a step
// stops what it has started and returns soon.
type Session interface {
	// Root makes the clean, up-to-date build root of the target ready.
	Root(ctx context.Context) error
	// Query asks the target's rpm about a spec: what rpmspec prints for these arguments, and the spec as the last of
	// them. It is run like the package's own code, unprivileged and without a network. sources is the directory of the
	// sources, which a spec may read. It may be called several times, between Root and SRPM.
	Query(ctx context.Context, spec, sources string, args ...string) ([]byte, error)
	// SRPM makes the source package and returns its path.
	SRPM(ctx context.Context, spec, sources string) (string, error)
	// Dependencies installs the BuildRequires of the source package.
	Dependencies(ctx context.Context, srpm string) error
	// RPMs runs the package's own build and returns the paths of the binary packages.
	RPMs(ctx context.Context, srpm string) ([]string, error)
	// Logs returns the paths of the logs that there are: build.log, root.log and the like.
	Logs() []string
	// Close frees what the session holds, in any state; what takes long may be done after it has
	// returned, by the engine. It may be called twice.
	Close(ctx context.Context) error
}
