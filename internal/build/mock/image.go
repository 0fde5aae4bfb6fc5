package mock

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/rpmflow/rpmflow"
)

// kind is what an image that builds share is for. It is the repository of the image's name.
type kind string

const (
	kindRoot         kind = "rpmflow/root"         // a target's initialised root
	kindDependencies kind = "rpmflow/dependencies" // a root with the BuildRequires of a package in it
)

// Labels of the images that builds share, written with the image itself.
const (
	LabelKind         = "dev.rpmflow.kind"
	LabelTarget       = "dev.rpmflow.target"
	labelMockImage    = "dev.rpmflow.mock-image"
	labelConfig       = "dev.rpmflow.config"       // SHA-256 of mock's configuration, expanded
	labelRepositories = "dev.rpmflow.repositories" // JSON: id to SHA-256 of repomd.xml
	labelMade         = "dev.rpmflow.made"
	labelUpdates      = "dev.rpmflow.updates" // layers on top of the first
	labelRoot         = "dev.rpmflow.root"    // of dependencies: id of the root's image
	labelByName       = "dev.rpmflow.by-name" // "true": mock adds BuildRequires to packages by their names
)

// keyLength is how much of a digest is enough to name an image on one engine.
const keyLength = 32

// cached is an image that builds share. All that is known of it is in the image: labels, and a name of the form
// KIND:KEY-TIME, where the time is that of the last look at the repositories, or of the last use of dependencies.
// A name can be given anew without a new layer, an image is there or not, and all builders on the engine see the same.
type cached struct {
	id      string
	name    string
	key     string
	time    time.Time
	made    time.Time
	labels  map[string]string
	updates int
}

// kind is told by the name: an image that is a root and serves as somebody's dependencies has two.
func (c cached) kind() kind {
	k, _, _ := strings.Cut(c.name, ":")
	return kind(k)
}

func nameOf(k kind, key string, t time.Time) string {
	return fmt.Sprintf("%s:%s-%d", k, key, t.Unix())
}

// parse reads an image's name and labels; those that are not of our making are none.
func parse(id, name string, labels map[string]string) (cached, bool) {
	_, tag, ok := strings.Cut(name, ":")
	key, stamp, ok2 := strings.Cut(tag, "-")
	unix, err := strconv.ParseInt(stamp, 10, 64)
	made, err2 := time.Parse(time.RFC3339, labels[labelMade])
	updates, err3 := strconv.Atoi(labels[labelUpdates])
	if !ok || !ok2 || err != nil || err2 != nil || err3 != nil || len(key) != keyLength {
		return cached{}, false
	}
	return cached{id: id, name: name, key: key, time: time.Unix(unix, 0), made: made, labels: labels, updates: updates}, true
}

// newest finds the image of a key with the latest time; nil: there is none.
func (e *Engine) newest(ctx context.Context, k kind, key string) (*cached, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	list, err := e.api.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", string(k)+":"+key+"-*"))})
	if err != nil {
		return nil, fmt.Errorf("engine mock: list images: %w", err)
	}
	var found *cached
	for _, i := range list {
		for _, name := range i.RepoTags {
			if c, ok := parse(i.ID, name, i.Labels); ok && c.key == key && (found == nil || c.time.After(found.time)) {
				found = &c
			}
		}
	}
	return found, nil
}

// touch gives an image the name of a new time; the old name goes.
func (e *Engine) touch(ctx context.Context, k kind, c cached, now time.Time) (cached, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	old := c.name
	c.name, c.time = nameOf(k, c.key, now), time.Unix(now.Unix(), 0)
	if c.name == old {
		return c, nil
	}
	if err := e.api.ImageTag(ctx, c.id, c.name); err != nil {
		return c, fmt.Errorf("engine mock: name image %s: %w", c.id, err)
	}
	if old != "" {
		return c, e.removeImage(ctx, old)
	}
	return c, nil
}

// keep makes an image that builds share of a container that has ended well. Name and labels come with it, in one call of the API: what
// is found by its name is whole.
func (s *session) keep(ctx context.Context, k kind, id string, c cached) (cached, error) {
	ctx, cancel := context.WithTimeout(ctx, commitWait)
	defer cancel()
	labels := maps.Clone(c.labels)
	c.name = nameOf(k, c.key, c.time)
	maps.Copy(labels, map[string]string{
		LabelInstallation: s.e.s.Installation, LabelKind: string(k), LabelTarget: s.job.Target.Name, labelMade: c.made.UTC().Format(time.RFC3339),
		labelUpdates: strconv.Itoa(c.updates), LabelBuild: "", LabelAttempt: "", // the container's own would be taken over
	})
	made, err := s.e.api.ContainerCommit(ctx, id, container.CommitOptions{Reference: c.name, Pause: false, Config: &container.Config{Labels: labels}})
	if err != nil {
		return cached{}, fmt.Errorf("engine mock: commit container %s: %w", id, err)
	}
	c.id, c.labels = made.ID, labels
	return c, nil
}

// repositories reads the label; nothing else than what was written by the same hand is in it.
func (c cached) repositories() map[string]string {
	var repositories map[string]string
	_ = json.Unmarshal([]byte(c.labels[labelRepositories]), &repositories)
	return repositories
}

// record is what the build's record says of the root.
func (c cached) record(stale bool) rpmflow.BuildRoot {
	return rpmflow.BuildRoot{
		Image: c.id, MockImage: c.labels[labelMockImage], Config: c.labels[labelConfig], Repositories: c.repositories(),
		Made: c.made.UTC(), Checked: c.time.UTC(), Stale: stale,
	}
}
