package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// Rebuilt is a repository that was made again.
type Rebuilt struct {
	*repo.State
	Refused []error // packages of builds that it may not have, and had not
	Lost    []error // packages that it had and that are nowhere, and revisions that cannot be read
	// Found is set if its state was lost: the revisions were found. Which of them were pinned is not known, so all are
	// that were replaced more than 50 hours ago.
	Found bool
}

// Rebuild makes a repository again as its next revision, whatever its state is: from the records and packages of
// builds in the storage, which are signed again, and what no build gives from the repository's own packages. Revisions
// and what belongs to them stay. As after any publication clients see the new one, also after a rollback. Packages that
// were taken out by hand come back only if removed is true.
func (p *Publisher) Rebuild(ctx context.Context, place Place, removed bool) (made Rebuilt, err error) {
	builds, err := p.builds(ctx, place)
	if err != nil {
		return made, err
	}
	if removed {
		_, version, err := p.removals(ctx, place)
		if err == nil && version != "" {
			err = p.writeRemovals(ctx, place, []removal{}, version)
		}
		if err != nil {
			return made, err
		}
	}
	var before *remains
	var not []*refusedError
	var lost []error
	from := func(ctx context.Context) (_ *repo.State, version string, err error) {
		if before, version, err = p.remains(ctx, place); err != nil {
			return nil, "", err
		}
		takes := before.arches
		if len(builds) > 0 {
			takes = append(arches(place, builds), takes...)
		}
		if len(builds) == 0 && len(before.entries) == 0 && len(before.lost) == 0 {
			return nil, "", hint.Add(fmt.Errorf("no build of %s for %s has succeeded", place.Project, place.Target),
				"rpmflow targets and rpmflow projects list their names")
		}
		slices.Sort(takes)
		s := before.state.Restart(compression(place.Target), slices.Compact(takes), p.o.now())
		return s, version, p.forgetMissing(ctx, place, s)
	}
	ofBuilds := p.addBuilds(place, builds, nil, &not)
	made.State, err = p.change(ctx, place, from, func(
		ctx context.Context, s *repo.State, d *repo.Draft, dir string,
	) error {
		d.Renew()
		if err := ofBuilds(ctx, s, d, dir); err != nil {
			return err
		}
		var err error
		lost, err = p.addOwn(ctx, place, builds, before.entries, s, d, dir)
		p.dropOld(place, d)
		return err
	})
	if err != nil {
		return made, err
	}
	made.Found, made.Lost = before.found, slices.Concat(before.lost, lost)
	had := map[madeBy]bool{}
	for _, e := range before.entries {
		had[madeByOf(e)] = true
	}
	for _, r := range not {
		if !had[madeBy{r.build, r.nevra}] && !had[madeBy{"", r.nevra}] {
			made.Refused = append(made.Refused, r)
		}
	}
	return made, nil
}

// addOwn puts the repository's own packages into a draft that no build has given. The newest revision had them, and
// none of the same name and version, so that they replace one. Those that cannot be had are returned.
func (p *Publisher) addOwn(
	ctx context.Context, place Place, builds []rpmflow.Build, entries []repo.Entry, s *repo.State, d *repo.Draft,
	dir string,
) (lost []error, err error) {
	removed, _, err := p.removals(ctx, place)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		takenOut := slices.ContainsFunc(removed, func(r removal) bool { return r.madeBy == madeByOf(e) }) &&
			slices.ContainsFunc(builds, func(b rpmflow.Build) bool { return b.ID == e.Build })
		if takenOut || d.Has(e.NEVRA, e.Build) { // a removal is noted before the state
			continue
		}
		pkg, file, err := p.own(ctx, place, e, dir)
		if errors.Is(err, storage.ErrNotFound) || errors.Is(err, errAltered) || errors.Is(err, rpmfile.ErrNotRPM) ||
			errors.Is(err, sign.ErrDamaged) {
			lost = append(lost, fmt.Errorf("package %s: %w", e.NEVRA,
				hint.Add(err, "build it again, or promote it again")))
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := d.Add(pkg, e.Origin, repo.Rules{Replace: true}); err != nil {
			return nil, err
		}
		if err := p.keepObject(ctx, place, s, object{pkg.Object(), file, pkg.Checksum, pkg.Size}); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// builds are those of a target that have succeeded, in the order in which they ended. If those of a push are published
// together, builds whose push is held back are left out.
func (p *Publisher) builds(ctx context.Context, place Place) (builds []rpmflow.Build, err error) {
	for b, err := range p.records(ctx, place.Project) {
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
		return missing(err)
	}
	if err := d.Add(pkg, e.Origin, repo.Rules{Replace: rules.Replace, RefuseLower: rules.RefuseLower}); err != nil {
		return err
	}
	return p.keepObject(ctx, to, s, object{pkg.Object(), file, pkg.Checksum, pkg.Size})
}
