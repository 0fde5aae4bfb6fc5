package images

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
)

// Kind is what an image that builds share is for. It is the repository of the image's name.
type Kind string

// The kinds.
const (
	Root         Kind = "rpmflow/root"         // a target's initialised root
	Dependencies Kind = "rpmflow/dependencies" // a root with the BuildRequires of a package in it
)

// Labels of the images that builds share, written with the image itself.
const (
	labelKind         = "dev.rpmflow.kind"
	labelTarget       = "dev.rpmflow.target"
	labelMockImage    = "dev.rpmflow.mock-image"
	labelConfig       = "dev.rpmflow.config"       // SHA-256 of mock's configuration, expanded
	labelRepositories = "dev.rpmflow.repositories" // JSON: id to SHA-256 of repomd.xml
	labelMade         = "dev.rpmflow.made"
	labelUpdates      = "dev.rpmflow.updates" // layers on top of the first
	labelRoot         = "dev.rpmflow.root"    // of dependencies: id of the root's image
	labelByName       = "dev.rpmflow.by-name" // "true": mock adds BuildRequires to packages by their names
)

// Image is an image that builds share. Everything that is known about it is in the image: labels, and a name of the
// form KIND:KEY-TIME. A new time is a new name without a new layer, an image exists or does not, and all builders on
// the engine see the same.
type Image struct {
	ID   string
	Name string
	Key  string
	// of a root: when it was last compared with the repositories; of dependencies: when they were last used
	Time    time.Time
	Made    time.Time
	Updates int // layers on top of the first

	labels map[string]string
}

// RootFacts is what a root was made from.
type RootFacts struct {
	MockImage    string            // id
	Config       string            // SHA-256 of mock's configuration, expanded
	Repositories map[string]string // id to SHA-256 of repomd.xml
	ByName       bool              // mock adds BuildRequires to packages by their names
}

// NewRoot describes a root that was made from nothing.
func NewRoot(key string, now time.Time, f RootFacts) Image {
	return Image{Key: key, Time: now, Made: now, labels: map[string]string{
		labelMockImage: f.MockImage, labelConfig: f.Config, labelRepositories: encode(f.Repositories),
		labelByName: strconv.FormatBool(f.ByName),
	}}
}

// Updated describes a root after mock has updated it.
func (i Image) Updated(now time.Time, repositories map[string]string) Image {
	i.Time, i.Made, i.Updates = now, now, i.Updates+1
	i.labels = maps.Clone(i.labels)
	i.labels[labelRepositories] = encode(repositories)
	return i
}

// With describes an image after BuildRequires were installed into it.
func (i Image) With(key string, now time.Time) Image {
	labels := maps.Clone(i.labels)
	if labels[labelKind] == string(Root) {
		labels[labelRoot] = i.ID
	}
	return Image{ID: i.ID, Key: key, Time: now, Made: now, Updates: i.Updates, labels: labels}
}

// As describes an image that serves under another key as well.
func (i Image) As(key string, now time.Time) Image {
	i.Key, i.Name, i.Time = key, "", now
	return i
}

func encode(repositories map[string]string) string {
	text, _ := json.Marshal(repositories) // strings have no errors
	return string(text)
}

// Repositories returns the SHA-256 of each repository's repomd.xml by its id.
func (i Image) Repositories() map[string]string {
	var repositories map[string]string
	_ = json.Unmarshal([]byte(i.labels[labelRepositories]), &repositories) // nothing else is written there
	return repositories
}

// ByName reports whether mock adds BuildRequires to packages by their names, so that they belong to one package.
func (i Image) ByName() bool { return i.labels[labelByName] == "true" }

// CheckedWithin reports whether a root was compared with the repositories no longer than age ago, or since an attempt
// began: that is as new as the attempt can ask for, however long it took. Otherwise a root that takes longer than age
// to make would never do.
func (i Image) CheckedWithin(age time.Duration, began *time.Time) bool {
	return time.Since(i.Time).Abs() <= age || began != nil && !i.Time.Before(began.Truncate(time.Second))
}

// Record is what the build's record says about the root.
func (i Image) Record(stale bool) rpmflow.BuildRoot {
	return rpmflow.BuildRoot{
		Image: i.ID, MockImage: i.labels[labelMockImage], Config: i.labels[labelConfig], Repositories: i.Repositories(),
		Made: i.Made.UTC(), Checked: i.Time.UTC(), Stale: stale,
	}
}

// kind is in the name: a root that serves as dependencies as well has two names.
func (i Image) kind() Kind {
	k, _, _ := strings.Cut(i.Name, ":")
	return Kind(k)
}

func nameOf(k Kind, key string, t time.Time) string {
	return fmt.Sprintf("%s:%s-%d", k, key, t.Unix())
}

// parse reads an image's name and labels. It refuses those that the store has not made.
func parse(id, name string, labels map[string]string) (Image, bool) {
	_, tag, ok := strings.Cut(name, ":")
	key, stamp, ok2 := strings.Cut(tag, "-")
	unix, err := strconv.ParseInt(stamp, 10, 64)
	made, err2 := time.Parse(time.RFC3339, labels[labelMade])
	updates, err3 := strconv.Atoi(labels[labelUpdates])
	if !ok || !ok2 || err != nil || err2 != nil || err3 != nil || len(key) != KeyLength {
		return Image{}, false
	}
	return Image{ID: id, Name: name, Key: key, Time: time.Unix(unix, 0), Made: made, labels: labels,
		Updates: updates}, true
}

// Newest finds the image of a key with the latest time; nil: there is none.
func (s *Store) Newest(ctx context.Context, k Kind, key string) (*Image, error) {
	ctx, cancel := context.WithTimeout(ctx, docker.CallWait)
	defer cancel()
	list, err := s.docker.Images(ctx, docker.ImageFilter{Name: string(k) + ":" + key + "-*"})
	if err != nil {
		return nil, err
	}
	var newest *Image
	for _, i := range list {
		for _, name := range i.Names {
			if found, ok := parse(i.ID, name, i.Labels); ok && found.Key == key && (newest == nil ||
				found.Time.After(newest.Time)) {
				newest = &found
			}
		}
	}
	return newest, nil
}

// Touch gives an image the name of a new time and removes the old name.
func (s *Store) Touch(ctx context.Context, k Kind, i Image, now time.Time) (Image, error) {
	ctx, cancel := context.WithTimeout(ctx, docker.CallWait)
	defer cancel()
	old := i.Name
	i.Name, i.Time = nameOf(k, i.Key, now), time.Unix(now.Unix(), 0)
	if i.Name == old {
		return i, nil
	}
	if err := s.docker.Tag(ctx, i.ID, i.Name); err != nil {
		return i, err
	}
	if old != "" {
		return i, s.docker.RemoveImage(ctx, old)
	}
	return i, nil
}

// usedSeldom is how exactly the time of an image's last use is known.
const usedSeldom = time.Minute

// Use notes that a build starts from an image.
func (s *Store) Use(ctx context.Context, k Kind, i Image) (Image, error) {
	if time.Since(i.Time).Abs() < usedSeldom {
		return i, nil
	}
	return s.Touch(ctx, k, i, time.Now())
}

// Commit makes the image that i describes of a container that has ended without an error.
func (s *Store) Commit(ctx context.Context, k Kind, container, target string, i Image) (Image, error) {
	labels := maps.Clone(i.labels)
	i.Name = nameOf(k, i.Key, i.Time)
	maps.Copy(labels, map[string]string{
		LabelInstallation: s.s.Installation, labelKind: string(k), labelTarget: target,
		labelMade: i.Made.UTC().Format(time.RFC3339),
		// otherwise it would inherit the container's
		labelUpdates: strconv.Itoa(i.Updates), LabelBuild: "", LabelAttempt: "",
	})
	id, err := s.docker.Commit(ctx, container, i.Name, labels)
	if err != nil {
		return Image{}, err
	}
	i.ID, i.labels = id, labels
	return i, nil
}

// Forget removes the name of an image, so that no builder finds it. Its layers stay as long as an image needs them.
func (s *Store) Forget(ctx context.Context, i Image) error { return s.docker.RemoveImage(ctx, i.Name) }
