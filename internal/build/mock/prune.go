package mock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
)

// Kept is an image that builds share.
type Kept struct {
	Target string
	// Dependencies says that the BuildRequires of a package are in it; else it is a target's root.
	Dependencies bool
	Image        string // id
	Name         string
	Made         time.Time
	// Used is when a root was last compared with the repositories, and dependencies were last built with.
	Used time.Time
	// Size is what the image takes on the disk beyond what it was made from, in bytes.
	Size int64
	// Outdated images are found by no build any more.
	Outdated bool
}

const (
	// settled is how long an image is left alone after its last use: a build may be about to start from it.
	settled = 10 * time.Minute
	// forgotten is how long a root is kept that no build asks for: its target is gone, or configured in another way.
	forgotten = 7 * 24 * time.Hour
)

// Kept lists the images that the installation's builds share on the engine, the least recently used first.
func (e *Engine) Kept(ctx context.Context) ([]Kept, error) {
	list, err := e.listOurs(ctx)
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, i := range list {
		sizes[i.ID] = i.Size
	}
	size := func(id string) int64 { // of what an image was made from: it may have no name any more, or be gone
		if _, ok := sizes[id]; !ok && id != "" {
			if info, err := e.api.ImageInspect(ctx, id); err == nil {
				sizes[id] = info.Size
			}
		}
		return sizes[id]
	}
	current := map[string]cached{} // by key
	var found []cached
	bases := map[string]string{}
	for _, i := range list {
		bases[i.ID] = i.ParentID
		for _, name := range i.RepoTags {
			c, ok := parse(i.ID, name, i.Labels)
			if !ok {
				continue
			}
			found = append(found, c)
			if old, ok := current[c.key]; c.kind() == kindRoot && (!ok || c.time.After(old.time)) {
				current[c.key] = c
			}
		}
	}
	roots := map[string]bool{}
	for _, c := range current {
		roots[c.id] = time.Since(c.time) < forgotten
	}
	kept := make([]Kept, 0, len(found))
	for _, c := range found {
		k := Kept{Target: c.labels[LabelTarget], Dependencies: c.kind() == kindDependencies, Image: c.id, Name: c.name, Made: c.made, Used: c.time}
		switch {
		case !k.Dependencies:
			k.Outdated = current[c.key].name != c.name || !roots[c.id]
			k.Size = sizes[c.id] - size(c.labels[labelMockImage])
		case c.labels[LabelKind] == string(kindRoot): // a root that has all that is required
			k.Outdated = !roots[c.id]
		default:
			k.Outdated = !roots[c.labels[labelRoot]]
			k.Size = sizes[c.id] - size(bases[c.id])
		}
		kept = append(kept, k)
	}
	slices.SortFunc(kept, func(a, b Kept) int { return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.Name, b.Name)) })
	return kept, nil
}

// Prune removes outdated images and, while the others take more than budget bytes, the least recently used of them. What a
// container is made from stays until that is gone. It returns what it has removed.
func (e *Engine) Prune(ctx context.Context, budget int64) (removed []Kept, err error) {
	kept, err := e.Kept(ctx)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, k := range kept {
		total += k.Size
	}
	var errs []error
	for _, k := range kept {
		if time.Since(k.Used) < settled || (!k.Outdated && total <= budget) {
			continue
		}
		_, err := e.api.ImageRemove(ctx, k.Name, image.RemoveOptions{PruneChildren: true})
		switch {
		case err == nil:
			total -= k.Size
			removed = append(removed, k)
		case !errdefs.IsNotFound(err) && !errdefs.IsConflict(err): // conflict: a container is made from it
			errs = append(errs, fmt.Errorf("engine mock: remove image %s: %w", k.Name, err))
		}
	}
	return removed, errors.Join(append(errs, e.removeNameless(ctx), e.pruneDownloads(ctx, kept))...)
}

// removeNameless removes images that nobody can find: a builder died between an image and its name, or the last image on top is gone.
func (e *Engine) removeNameless(ctx context.Context) error {
	list, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", LabelInstallation+"="+e.s.Installation), filters.Arg("label", LabelKind), filters.Arg("dangling", "true"))})
	if err != nil {
		return fmt.Errorf("engine mock: list images: %w", err)
	}
	var errs []error
	for _, i := range list {
		if time.Since(time.Unix(i.Created, 0)) < settled { // its name may be on the way
			continue
		}
		if _, err := e.api.ImageRemove(ctx, i.ID, image.RemoveOptions{PruneChildren: true}); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
			errs = append(errs, fmt.Errorf("engine mock: remove image %s: %w", i.ID, err))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) listOurs(ctx context.Context) ([]image.Summary, error) {
	list, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(
		filters.Arg("label", LabelInstallation+"="+e.s.Installation), filters.Arg("label", LabelKind))})
	if err != nil {
		return nil, fmt.Errorf("engine mock: list images: %w", err)
	}
	return list, nil
}
