package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
)

// ErrNoRepository means that nothing was published yet.
var ErrNoRepository = errors.New("no repository yet: it is made with the first build that succeeds")

// errState means that a repository's state cannot be read, errLost that there is a repository without one.
var (
	errState = errors.New("it is damaged")
	errLost  = errors.New("it is missing, and clients see a revision")
)

// load reads a repository's state and its version.
func (p *Publisher) load(ctx context.Context, place Place) (*repo.State, string, error) {
	raw, version, err := p.repos.Read(ctx, place.key(stateName), maxState)
	if err == nil && version == "" {
		if err = p.checkLost(ctx, place); err == nil {
			raw, version, err = p.repos.Read(ctx, place.key(stateName), maxState)
		}
	}
	if err == nil && version == "" {
		err = ErrNoRepository
	}
	if err != nil {
		return nil, "", fmt.Errorf("repository %s: %w", place.Path(), err)
	}
	state, err := repo.ParseState(raw)
	if err != nil {
		do := "make it again with " + place.command("rebuild")
		if errors.Is(err, repo.ErrNewer) {
			do = "use that version; if it is not to be had, " + do
		}
		return nil, "", fmt.Errorf("repository %s: %s: %w", place.Path(), stateName,
			hint.Add(fmt.Errorf("%w: %w", errState, err), do))
	}
	return state, version, nil
}

// checkLost looks for what is written after the state of a repository: if that is there, the state was lost. To begin
// with nothing would take all packages from clients. Another program may write the state and the rest at this moment.
func (p *Publisher) checkLost(ctx context.Context, place Place) error {
	last, _, err := p.revisions(ctx, place)
	if err != nil {
		return err
	}
	had, err := p.versions(ctx, place)
	if err != nil {
		return err
	}
	shown := slices.ContainsFunc(pointers(), func(name string) bool { return had[name] != "" })
	if !shown && last <= 1 { // a first publication that ended leaves a revision 1
		return nil
	}
	_, version, err := p.repos.Read(ctx, place.key(stateName), maxState)
	if err != nil || version != "" {
		return err
	}
	return fmt.Errorf("%s: %w", stateName, hint.Add(errLost, "make it again with "+place.command("rebuild")))
}

// existing begins with the newest revision.
func (p *Publisher) existing(place Place) begin {
	return func(ctx context.Context) (*repo.State, string, error) {
		state, version, err := p.load(ctx, place)
		if err == nil {
			err = p.checkKey(ctx, place, state.Newest())
		}
		return state, version, err
	}
}

// orNew begins with the newest revision, or with an empty repository for packages of these architectures.
func (p *Publisher) orNew(place Place, arches []string) begin {
	return func(ctx context.Context) (*repo.State, string, error) {
		state, version, err := p.existing(place)(ctx)
		if errors.Is(err, ErrNoRepository) {
			return repo.New(compression(place.Target), arches...), "", nil
		}
		return state, version, err
	}
}
