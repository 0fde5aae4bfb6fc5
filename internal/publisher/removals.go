package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// removedName is the object that says which packages were taken out by hand. It is not a part of the state, so that a
// repository whose state is lost is made again without them.
const removedName = "removed.json"

// madeBy is a package of a build. Another build may make one of the same name and version.
type madeBy struct {
	Build string `json:"build"`
	NEVRA string `json:"nevra"`
}

func madeByOf(e repo.Entry) madeBy { return madeBy{e.Build, e.NEVRA.String()} }

// removal is a package that somebody has taken out: it does not come back.
type removal struct {
	madeBy
	Removed time.Time `json:"removed"`
}

// removals are those of a repository, and the version of the object.
func (p *Publisher) removals(ctx context.Context, place Place) (list []removal, version string, err error) {
	raw, version, err := p.repos.Read(ctx, place.key(removedName), maxState)
	if err != nil || version == "" {
		return nil, version, err
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, "", hint.Add(fmt.Errorf("repository %s: %s: %w", place.Path(), removedName, err),
			"it lists the packages that were taken out: correct it, or remove it, with which they can come back")
	}
	return list, version, nil
}

// noteRemovals adds packages to those that do not come back.
func (p *Publisher) noteRemovals(ctx context.Context, place Place, entries []repo.Entry) error {
	list, version, err := p.removals(ctx, place)
	if err != nil {
		return err
	}
	known := map[madeBy]bool{}
	for _, r := range list {
		known[r.madeBy] = true
	}
	for _, e := range entries {
		if r := (removal{madeByOf(e), p.o.now().UTC()}); !known[r.madeBy] {
			list = append(list, r)
		}
	}
	return p.writeRemovals(ctx, place, list, version)
}

func (p *Publisher) writeRemovals(ctx context.Context, place Place, list []removal, version string) error {
	raw, err := rpmflow.EncodeJSON(list, "  ")
	if err != nil {
		return fmt.Errorf("repository %s: %w", place.Path(), err)
	}
	if err := p.o.step(removedName); err != nil {
		return err
	}
	_, err = p.repos.Replace(ctx, place.key(removedName), raw, version,
		storage.Headers{ContentType: "application/json", CacheControl: changing})
	return err
}
