package images

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
)

// Entry is an image that builds share, in a list of all.
type Entry struct {
	Target string
	// Dependencies means that it has the BuildRequires of a package; otherwise it is a target's root.
	Dependencies bool
	Image        string // id
	Name         string
	Made         time.Time
	// Used is when a root was last compared with the repositories, and dependencies were last used.
	Used time.Time
	// Size is what the image takes on the disk beyond what it was made from, in bytes.
	Size int64
	// Outdated images are found by no build any more.
	Outdated bool
}

const (
	// inUse is how long an image is kept after its last use: a build may be about to start from it.
	inUse = 10 * time.Minute
	// forgotten is how long a root is kept that no build asks for: its target was removed, or configured differently.
	forgotten = 7 * 24 * time.Hour
)

// List returns the images that the installation's builds share on the engine, the least recently used first.
func (s *Store) List(ctx context.Context) ([]Entry, error) {
	list, err := s.docker.Images(ctx, docker.ImageFilter{Labels: []string{s.ours(), labelKind}})
	if err != nil {
		return nil, err
	}
	images := map[string]docker.Image{}
	for _, i := range list {
		images[i.ID] = i
	}
	size := func(id string) int64 { // of what an image was made from, which may have lost its name, or be gone
		if _, ok := images[id]; !ok && id != "" {
			if i, err := s.docker.Image(ctx, id); err == nil {
				images[id] = i
			}
		}
		return images[id].Size
	}
	current := map[string]Image{} // roots by key
	var found []Image
	for _, i := range list {
		for _, name := range i.Names {
			image, ok := parse(i.ID, name, i.Labels)
			if !ok {
				continue
			}
			found = append(found, image)
			if old, ok := current[image.Key]; image.kind() == Root && (!ok || image.Time.After(old.Time)) {
				current[image.Key] = image
			}
		}
	}
	roots := map[string]bool{} // by id: whether builds use it
	for _, i := range current {
		roots[i.ID] = time.Since(i.Time) < forgotten
	}
	entries := make([]Entry, 0, len(found))
	for _, i := range found {
		e := Entry{Target: i.labels[labelTarget], Dependencies: i.kind() == Dependencies, Image: i.ID, Name: i.Name,
			Made: i.Made, Used: i.Time}
		switch {
		case !e.Dependencies:
			e.Outdated = current[i.Key].Name != i.Name || !roots[i.ID]
			e.Size = images[i.ID].Size - size(i.labels[labelMockImage])
		case i.labels[labelKind] == string(Root): // a root that has everything that is required
			e.Outdated = !roots[i.ID]
		default:
			e.Outdated = !roots[i.labels[labelRoot]]
			e.Size = images[i.ID].Size - size(images[i.ID].Parent)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.Name, b.Name))
	})
	return entries, nil
}

// Prune removes outdated images and, while the others take more than budget bytes, the least recently used of them. An
// image that a container is made from stays until the container is gone. It returns what it has removed.
func (s *Store) Prune(ctx context.Context, budget int64) (removed []Entry, err error) {
	entries, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, e := range entries {
		total += e.Size
	}
	var errs []error
	for _, e := range entries {
		if time.Since(e.Used) < inUse || (!e.Outdated && total <= budget) {
			continue
		}
		gone, err := s.docker.RemoveUnusedImage(ctx, e.Name)
		if gone {
			total -= e.Size
			removed = append(removed, e)
		}
		errs = append(errs, err)
	}
	return removed, errors.Join(append(errs, s.removeNameless(ctx), s.pruneDownloads(ctx, entries))...)
}

// removeNameless removes images that have no name: a builder died between making and naming one, or the last image
// on top is gone.
func (s *Store) removeNameless(ctx context.Context) error {
	list, err := s.docker.Images(ctx, docker.ImageFilter{Labels: []string{s.ours(), labelKind}, Nameless: true})
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range list {
		if time.Since(i.Created) >= inUse { // a newer one may be about to get its name
			_, err := s.docker.RemoveUnusedImage(ctx, i.ID)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
