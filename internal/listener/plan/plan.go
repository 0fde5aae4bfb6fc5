// Package plan decides which builds a push, a submission or a retry leads to, or why there are none.
//
// Configured projects and targets, changes of refs and the project's repository come in; a push with the
// records of its builds goes out, and nothing is stored. The listener imports it; it is independent of HTTP.
package plan

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/source"
)

// Options of a planner.
type Options struct {
	Projects     []rpmflow.Project
	Targets      []rpmflow.Target
	Repositories Repositories // nil: only the delivery has which files a push has changed
	Resolve      Resolver
	Wait         time.Duration // for a repository, at most; the planner has a limit of its own, too
	Logger       *slog.Logger
}

// Repositories answer what a delivery does not say about commits.
type Repositories interface {
	Changed(ctx context.Context, req source.Request, before string) ([]string, error)
	SourcePackages(ctx context.Context, req source.Request) ([]source.SRPMFile, error)
	Absent(ctx context.Context, req source.Request, packages []rpmflow.PackageSource) (map[string]string, error)
}

// Resolver finds out which commit a ref of a repository names.
type Resolver func(ctx context.Context, url, ref string) (fullRef, commit string, err error)

// Planner plans. It reads at most a few repositories at a time, some of them on after the answer.
type Planner struct {
	o       Options
	log     *slog.Logger
	reading map[string]chan struct{} // slots for each project's repository
	reads   sync.WaitGroup
	ctx     context.Context // of the reads
	stop    context.CancelFunc
}

// New makes a planner, which the caller closes.
func New(o Options) *Planner {
	pl := &Planner{o: o, log: o.Logger, reading: map[string]chan struct{}{}}
	pl.ctx, pl.stop = context.WithCancel(context.Background())
	for _, p := range o.Projects {
		pl.reading[p.Name] = make(chan struct{}, maxReads)
	}
	return pl
}

// Stop ends what reads repositories. Plans that wait for it go on without.
func (pl *Planner) Stop() { pl.stop() }

// Close stops and waits for the end.
func (pl *Planner) Close() {
	pl.stop()
	pl.reads.Wait()
}

// Kind says what is wrong with a request.
type Kind int

// The kinds.
const (
	Invalid     Kind = iota // it asks for something that there is not
	NotFound                // the project is not configured
	Conflict                // the retried build's configuration is gone
	Unreachable             // the repository's server does not answer
)

// Refusal says why a request cannot be planned, and what to do about it.
type Refusal struct {
	Kind          Kind
	Message, Hint string
}

func refuse(kind Kind, hint, format string, args ...any) *Refusal {
	return &Refusal{Kind: kind, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// Push adds to a push the builds that a change of a ref leads to, or the reason why there are none.
func (pl *Planner) Push(ctx context.Context, project rpmflow.Project, push rpmflow.Push, c forge.Change) rpmflow.Push {
	if c.Deleted() {
		push.Reason = fmt.Sprintf("%s was deleted: nothing to build", c.Ref)
		return push
	}
	// The fallback packages branches that are built, whether it is one itself or not.
	fallback := push.Half == rpmflow.HalfPackaging && project.Sources.Fallback != "" &&
		c.Ref == "refs/heads/"+project.Sources.Fallback
	if reason, ok := project.Wants(c.Ref); !ok && !fallback {
		push.Reason = reason
		return push
	}
	if len(project.Targets) == 0 {
		push.Reason = fmt.Sprintf("project %q has no targets: name some under targets:", project.Name)
		return push
	}
	chosen := pl.choose(ctx, project, c)
	push.Builds, push.Reason = pl.builds(project, push, chosen, project.Targets), chosen.reason
	push.NotBuilt = chosen.not
	return push
}
