package publisher

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
)

// Rebuild makes a repository again from the records and packages of builds in the storage, whatever its state is. The
// number of the revision goes on. Packages are signed again; older revisions are kept by nobody any more. Packages that
// were taken out by hand come back only if removed is true.
func (p *Publisher) Rebuild(ctx context.Context, place Place, removed bool) (
	state *repo.State, refused []error, err error,
) {
	builds, err := p.builds(ctx, place)
	if err != nil {
		return nil, nil, err
	}
	if len(builds) == 0 {
		return nil, nil, hint.Add(fmt.Errorf("no build of %s for %s has succeeded", place.Project, place.Target),
			"rpmflow targets and rpmflow projects list their names")
	}
	if removed {
		_, version, err := p.removals(ctx, place)
		if err == nil && version != "" {
			err = p.writeRemovals(ctx, place, []removal{}, version)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	empty := func(ctx context.Context) (*repo.State, string, error) {
		last, err := p.lastRevision(ctx, place)
		if err != nil {
			return nil, "", err
		}
		raw, version, err := p.repos.Read(ctx, place.key(stateName), maxState)
		if err != nil {
			return nil, "", err
		}
		s := repo.New(compression(place.Target), arches(place, builds)...)
		s.Revision = last
		if before, err := repo.ParseState(raw); err == nil {
			s.Leaving = before.Leaving
		}
		return s, version, nil
	}
	var not []*refusedError
	state, err = p.change(ctx, place, empty, p.addBuilds(place, builds, nil, &not))
	for _, r := range not {
		refused = append(refused, r)
	}
	return state, refused, err
}

// builds are those of a target that have succeeded, in the order in which they ended. If those of a push are published
// together, builds whose push is held back are left out.
func (p *Publisher) builds(ctx context.Context, place Place) (builds []rpmflow.Build, err error) {
	for o, err := range p.repos.List(ctx, "builds/"+place.Project+"/") {
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(o.Key, "/build.json") {
			continue
		}
		b, err := p.record(ctx, o.Key)
		if err != nil {
			return nil, err
		}
		if b.Outcome != nil && b.FinishedAt != nil {
			builds = append(builds, b)
		}
	}
	slices.SortStableFunc(builds, func(a, b rpmflow.Build) int { return a.FinishedAt.Compare(*b.FinishedAt) })
	held := func(rpmflow.Build) bool { return false }
	if p.o.Rules(place.Project).Together {
		held = heldBack(builds)
	}
	return slices.DeleteFunc(builds, func(b rpmflow.Build) bool {
		return b.Target != place.Target || b.Outcome.Result != rpmflow.Succeeded || held(b)
	}), nil
}

// lastRevision is the highest number that a revision has had, as far as the storage still has it.
func (p *Publisher) lastRevision(ctx context.Context, place Place) (last int64, err error) {
	below := place.key("r/")
	for o, err := range p.repos.List(ctx, below) {
		if err != nil {
			return 0, err
		}
		number, _, _ := strings.Cut(strings.TrimPrefix(o.Key, below), "-")
		if n, err := strconv.ParseInt(number, 10, 64); err == nil {
			last = max(last, n)
		}
	}
	return last, nil
}

// Promote copies the packages of builds from one repository to another, all in one revision: from testing to stable.
// It returns the names of the packages that were not there.
func (p *Publisher) Promote(ctx context.Context, from, to Place, builds []string) (copied []string, err error) {
	source, err := p.State(ctx, from)
	if err != nil {
		return nil, err
	}
	builds = slices.Clone(builds)
	for i, b := range builds {
		if builds[i], err = wholeID(source, b); err != nil {
			return nil, fmt.Errorf("repository %s: %w", from.Path(), err)
		}
	}
	var entries []repo.Entry
	missing := slices.Clone(builds)
	for _, e := range source.Entries() {
		if slices.Contains(builds, e.Build) || len(builds) == 0 {
			entries = append(entries, e)
			missing = slices.DeleteFunc(missing, func(b string) bool { return b == e.Build })
		}
	}
	if len(missing) > 0 || len(entries) == 0 {
		return nil, hint.Add(fmt.Errorf("repository %s has nothing of %s", from.Path(), strings.Join(missing, ", ")),
			"rpmflow repo show lists what it has, with the builds")
	}
	rules := p.o.Rules(to.Project)
	_, err = p.change(ctx, to, p.orNew(to, source.Arches), func(
		ctx context.Context, s *repo.State, d *repo.Draft, dir string,
	) error {
		copied = nil
		for _, e := range entries {
			if err := p.copy(ctx, from, to, s, d, e, rules, dir); err != nil {
				return err // all or nothing
			}
			copied = append(copied, e.NEVRA.String())
		}
		return nil
	})
	return copied, err
}

func (p *Publisher) copy(
	ctx context.Context, from, to Place, s *repo.State, d *repo.Draft, e repo.Entry, rules rpmflow.Publish, dir string,
) error {
	pkg, file, err := p.own(ctx, from, e, dir)
	if err != nil {
		return err
	}
	if err := d.Add(pkg, e.Origin, repo.Rules{Replace: rules.Replace, RefuseLower: rules.RefuseLower}); err != nil {
		return err
	}
	return p.keepObject(ctx, to, s, object{pkg.Object(), file, pkg.Checksum, pkg.Size})
}
