package plan

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/forge"
	"github.com/rpmflow/rpmflow/internal/nearest"
)

// Submission asks for builds of a commit.
type Submission struct {
	Project, Ref, Commit string   // Ref and Commit may be empty
	Packages, Targets    []string // empty: all, and those of the project
}

// Submit plans a submission. The key distinguishes it from others.
func (pl *Planner) Submit(ctx context.Context, s Submission, key string) (push rpmflow.Push, _ *Refusal) {
	project, refusal := pl.Project(s.Project)
	if refusal != nil {
		return push, refusal
	}
	targets, refusal := pl.targets(project, s.Targets)
	if refusal != nil {
		return push, refusal
	}
	ref, commit, refusal := pl.resolve(ctx, project, s)
	if refusal != nil {
		return push, refusal
	}
	change := forge.Change{Ref: ref, Commit: commit}
	chosen, refusal := pl.named(ctx, project, change, s.Packages)
	if refusal != nil {
		return push, refusal
	}
	push = NewPush(project, forge.SubmissionKey(key), change, forge.API, time.Now())
	if project.Layout == rpmflow.LayoutSplit {
		push.Half = rpmflow.HalfSource
	}
	push.Builds = pl.builds(project, push, chosen, targets)
	return push, nil
}

func (pl *Planner) resolve(ctx context.Context, project rpmflow.Project, s Submission) (ref, commit string,
	_ *Refusal) {
	if s.Commit != "" && !rpmflow.IsCommit(s.Commit) {
		return "", "", refuse(Invalid, "give the full commit id, or leave it out to build the ref's present one",
			"commit %q is not a full commit id", s.Commit)
	}
	if s.Commit != "" && strings.HasPrefix(s.Ref, "refs/") {
		return s.Ref, s.Commit, nil
	}
	wanted := s.Ref
	if wanted == "" {
		wanted = "HEAD"
	}
	ref, commit, err := pl.o.Resolve(ctx, project.URL, wanted)
	var f *rpmflow.Failure
	if s.Ref == "" && errors.As(err, &f) { // HEAD names no branch that is there
		for _, branch := range project.Branches {
			if strings.ContainsAny(branch, `*?[{\!`) {
				continue // a pattern
			}
			if r, c, err := pl.o.Resolve(ctx, project.URL, "refs/heads/"+branch); err == nil {
				ref, commit, f = r, c, nil
				break
			}
		}
		if f == nil {
			err = nil
		}
	}
	if errors.As(err, &f) {
		return "", "", refuse(Invalid, f.Hint, "project %q: %v", project.Name, f)
	}
	if err != nil {
		pl.log.Warn("ref not resolved", "project", project.Name, "ref", wanted, "error", err)
		return "", "", refuse(Unreachable,
			"check the repository's server, or give commit and the full ref (refs/heads/…)",
			"project %q: cannot ask %s which commit %s is", project.Name, project.URL, wanted)
	}
	if s.Commit != "" {
		commit = s.Commit
	}
	return ref, commit, nil
}

// Retry plans a build of the same commit, package and target as a finished one, with the project's present settings.
// The key distinguishes it from others.
func (pl *Planner) Retry(old rpmflow.Build, key string) (push rpmflow.Push, _ *Refusal) {
	if old.State != rpmflow.Finished {
		return push, refuse(Conflict, "wait for its end, or cancel it first", "build %s is not finished, it is %s",
			old.ID,
			old.State)
	}
	project, refusal := pl.Project(old.Project)
	if refusal != nil {
		return push, refusal
	}
	if !slices.Contains(pl.TargetNames(), old.Target) {
		return push, refuse(Conflict, "defined are: "+strings.Join(pl.TargetNames(), ", "),
			"target %q of build %s is not defined any more", old.Target, old.ID)
	}
	push = NewPush(project, forge.RetryKey(old.ID, key), forge.Change{Ref: old.Ref, Commit: old.Commit}, forge.API,
		time.Now())
	b, refusal := pl.again(project, &push, old)
	if refusal != nil {
		return push, refusal
	}
	b.RetryOf = old.ID
	push.Builds = []rpmflow.Build{b}
	return push, nil
}

// again is the record of the new build.
func (pl *Planner) again(project rpmflow.Project, push *rpmflow.Push, old rpmflow.Build) (rpmflow.Build, *Refusal) {
	if old.SourcePackage != nil {
		return pl.uploaded(project, *push, *old.SourcePackage, old.Package, old.Target), nil
	}
	part, p := repeated(project, old)
	if p != nil {
		return rpmflow.Build{}, p
	}
	half, split, p := splitAgain(project, old)
	if p != nil {
		return rpmflow.Build{}, p
	}
	push.Half = half
	b := pl.request(project, *push, part, old.Target)
	if split != nil {
		b.Split = split
	}
	return b, nil
}

// Upload says what an uploaded source package is to be built for.
type Upload struct {
	Project string // empty: that with the package's name, or the only one
	Targets []string
}

// Check refuses what is wrong with any source package.
func (pl *Planner) Check(u Upload) *Refusal {
	if u.Project == "" {
		_, refusal := pl.targets(rpmflow.Project{Targets: pl.TargetNames()}, u.Targets)
		return refusal
	}
	_, _, refusal := pl.Decide(u, "")
	return refusal
}

// Decide finds the project and the targets for a source package with this name.
func (pl *Planner) Decide(u Upload, name string) (rpmflow.Project, []string, *Refusal) {
	wanted := u.Project
	if wanted == "" {
		known := pl.ProjectNames()
		switch {
		case slices.Contains(known, name):
			wanted = name
		case len(known) == 1:
			wanted = known[0]
		default:
			_, hint := nearest.Unknown("project", name, known, "name the project: rpmflow submit PROJECT --srpm FILE")
			return rpmflow.Project{}, nil, refuse(Invalid, hint,
				"there is no project with the name of the source package, %s", name)
		}
	}
	project, p := pl.Project(wanted)
	if p != nil {
		return project, nil, p
	}
	targets, p := pl.targets(project, u.Targets)
	return project, targets, p
}
