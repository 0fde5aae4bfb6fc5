package docker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/volume"
)

// Image is an image on the engine.
type Image struct {
	ID      string
	Parent  string   // id of the image that it was made from; empty: unknown; set by Images only
	Names   []string // REPOSITORY:TAG
	Labels  map[string]string
	Size    int64 // bytes, with all layers
	Created time.Time
	Volumes []string // directories that it declares as volumes; set by Image only
}

// Image returns an image by its name or id.
func (c *Client) Image(ctx context.Context, name string) (Image, error) {
	info, err := c.api.ImageInspect(ctx, name)
	if err != nil {
		return Image{}, failed(err, "image %s", name)
	}
	i := Image{ID: info.ID, Names: info.RepoTags, Size: info.Size, Created: parseTime(info.Created)}
	if info.Config != nil {
		i.Labels, i.Volumes = info.Config.Labels, slices.Collect(maps.Keys(info.Config.Volumes))
	}
	return i, nil
}

// ImageFilter selects images.
type ImageFilter struct {
	Labels   []string // KEY or KEY=VALUE, all of them
	Name     string   // REPOSITORY:TAG, where * stands for any text; empty: any
	Nameless bool     // only images without a name
}

// Images lists images.
func (c *Client) Images(ctx context.Context, f ImageFilter) ([]Image, error) {
	args := withLabels(f.Labels)
	if f.Name != "" {
		args.Add("reference", f.Name)
	}
	if f.Nameless {
		args.Add("dangling", "true")
	}
	list, err := c.api.ImageList(ctx, image.ListOptions{Filters: args})
	images := make([]Image, 0, len(list))
	for _, l := range list {
		images = append(images, Image{
			ID: l.ID, Parent: l.ParentID, Names: l.RepoTags, Labels: l.Labels, Size: l.Size,
			Created: time.Unix(l.Created, 0),
		})
	}
	return images, failed(err, "list images")
}

// Tag gives an image another name besides those that it has.
func (c *Client) Tag(ctx context.Context, id, name string) error {
	return failed(c.api.ImageTag(ctx, id, name), "name image %s", id)
}

// RemoveImage removes an image by its id, or one of its names, and the layers that nothing else needs. An image that is
// gone, or that another program is removing, is not an error.
func (c *Client) RemoveImage(ctx context.Context, name string) error {
	_, err := c.removeImage(ctx, name, true)
	return err
}

// RemoveUnusedImage is RemoveImage unless a container is made from the image, and reports whether the image was
// removed.
func (c *Client) RemoveUnusedImage(ctx context.Context, name string) (bool, error) {
	return c.removeImage(ctx, name, false)
}

func (c *Client) removeImage(ctx context.Context, name string, force bool) (bool, error) {
	_, err := c.api.ImageRemove(ctx, name, image.RemoveOptions{Force: force, PruneChildren: true})
	return err == nil, failed(unlessGone(err), "remove image %s", name)
}

// Volume is a volume on the engine.
type Volume struct {
	Name    string
	Labels  map[string]string
	Created time.Time
}

// Volumes lists volumes with these labels, KEY=VALUE each.
func (c *Client) Volumes(ctx context.Context, labels ...string) ([]Volume, error) {
	list, err := c.api.VolumeList(ctx, volume.ListOptions{Filters: withLabels(labels)})
	var volumes []Volume
	for _, v := range list.Volumes {
		volumes = append(volumes, Volume{Name: v.Name, Labels: v.Labels, Created: parseTime(v.CreatedAt)})
	}
	return volumes, failed(err, "list volumes")
}

// RemoveVolume removes a volume unless a container has it. A volume that is gone is not an error.
func (c *Client) RemoveVolume(ctx context.Context, name string) error {
	return failed(unlessGone(c.api.VolumeRemove(ctx, name, false)), "remove volume %s", name)
}
