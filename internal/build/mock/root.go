package mock

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/build/mock/mocklog"
)

// maxUpdates is how many layers are put on a root before it is made again: engines allow some 125, and each costs a
// little.
const maxUpdates = 20

// Root gives the build a root that was compared with the repositories no longer ago than the target allows: the
// existing image, that image after mock has updated it, or a new one.
func (s *session) Root(ctx context.Context) error {
	root, have, err := s.e.images.Get(ctx, s.rootRecipe(false))
	var outdated *outdatedError
	if errors.As(err, &outdated) { // dnf finds no way from the old packages to the new ones
		_, _ = fmt.Fprintf(s.job.Log, "rpmflow: the root cannot be updated, making it again: %v\n", outdated.err)
		root, have, err = s.e.images.Get(ctx, s.rootRecipe(true))
	}
	stale := false
	if err != nil {
		if have == nil || !s.job.Target.AllowStale || ctx.Err() != nil {
			return err
		}
		_, _ = fmt.Fprintf(s.job.Log, "rpmflow: the repositories cannot be asked, continuing with the root of %s, as "+
			"the target allows: %v\n",
			have.Time.UTC().Format(time.RFC3339), err)
		root, stale = *have, true
	}
	s.root = root
	s.job.OnRoot(root.Record(stale))
	return nil
}

// outdatedError means that a root could not be updated though the repositories answered.
type outdatedError struct{ err error }

func (e *outdatedError) Error() string { return e.err.Error() }
func (e *outdatedError) Unwrap() error { return e.err }

// rootRecipe makes the root from nothing when there is none, when it has too many layers, or if again is set; otherwise
// by an update.
func (s *session) rootRecipe(again bool) images.Recipe {
	fromNothing := func(have *images.Image) bool { return again || have == nil || have.Updates >= maxUpdates }
	asked := time.Now().Truncate(time.Second) // as exactly as labels have it
	var st step
	r := s.recipe(images.Root, s.rootKey())
	r.What = func(have *images.Image) string {
		if have == nil {
			return "the root of " + s.job.Target.Name
		}
		return "the root of " + s.job.Target.Name + ", compared with its repositories"
	}
	r.Good = func(i images.Image) bool {
		if again {
			return !i.Made.Before(asked)
		}
		return i.CheckedWithin(s.job.Target.MaxAge, s.job.Build.StartedAt)
	}
	r.Create = func(ctx context.Context, name string, have *images.Image) (string, error) {
		if fromNothing(have) {
			st = step{image: s.image, script: scriptInit, files: s.config.files}
		} else {
			st = step{image: have.ID, script: scriptUpdate, failed: func(end ended, err error) error {
				if mocklog.Unreachable(end.output) {
					return err
				}
				return &outdatedError{err}
			}}
		}
		st.name, st.network = name, true
		st = s.step(rpmflow.PhaseRoot, st)
		return s.create(ctx, st)
	}
	r.Make = func(ctx context.Context, container string, have *images.Image) (images.Image, error) {
		began, err := s.makeShared(ctx, rpmflow.PhaseRoot, container, st)
		if err != nil {
			s.failed = failedStep{}
			return images.Image{}, err
		}
		if fromNothing(have) {
			return s.keepRoot(ctx, container, began)
		}
		return s.keepUpdate(ctx, container, *have, began)
	}
	return r
}

// recipe is what all recipes of the session have in common.
func (s *session) recipe(k images.Kind, key string) images.Recipe {
	return images.Recipe{Kind: k, Key: key, Build: s.job.Build, Log: s.job.Log, Target: s.job.Target.Name,
		MockImage: s.image}
}

// makeShared runs the container of a shared image, and says when it began.
func (s *session) makeShared(ctx context.Context, phase rpmflow.Phase, container string, st step) (time.Time, error) {
	if err := os.RemoveAll(s.dir(phase)); err != nil { // of an earlier round
		return time.Time{}, fmt.Errorf("engine mock: %w", err)
	}
	began := time.Now()
	_, err := s.perform(ctx, phase, container, st)
	return began, err
}

// rootKey distinguishes the root of this target from others on the engine.
func (s *session) rootKey() string {
	return s.e.images.RootKey(s.config.digest(s.image, s.job.Target.Name))
}

// keepRoot commits a root that mock has made from nothing.
func (s *session) keepRoot(ctx context.Context, container string, began time.Time) (images.Image, error) {
	repositories, err := readRepositories(filepath.Join(s.dir(rpmflow.PhaseRoot), "repositories"))
	if err != nil {
		return images.Image{}, err
	}
	config, err := os.ReadFile(filepath.Join(s.dir(rpmflow.PhaseRoot), "config"))
	if err != nil {
		return images.Image{}, fmt.Errorf("engine mock: configuration as mock expands it: %w", err)
	}
	sum := sha256.Sum256(config)
	root := images.NewRoot(s.rootKey(), began, images.RootFacts{
		MockImage: s.image, Config: hex.EncodeToString(sum[:]), Repositories: repositories,
		ByName: byName.Match(config),
	})
	return s.e.images.Commit(ctx, images.Root, container, s.job.Target.Name, root)
}

// keepUpdate commits a root that mock has updated. If nothing was new, the existing image gets a new time.
func (s *session) keepUpdate(ctx context.Context, container string, have images.Image, began time.Time) (images.Image,
	error) {
	repositories, err := readRepositories(filepath.Join(s.dir(rpmflow.PhaseRoot), "repositories"))
	if err != nil {
		return images.Image{}, err
	}
	if maps.Equal(repositories, have.Repositories()) {
		return s.e.images.Touch(ctx, images.Root, have, began)
	}
	root, err := s.e.images.Commit(ctx, images.Root, container, s.job.Target.Name, have.Updated(began, repositories))
	if err == nil {
		err = s.e.images.Forget(ctx, have) // its layers stay below the new image
	}
	return root, err
}

// byName finds the option in the configuration as mock prints it, if it differs from the default.
var byName = regexp.MustCompile(`(?m)^config_opts\['more_buildreqs'\] = \{.*[^}]`)

// repositoryDir is the directory of a repository in dnf's cache: its id and a digest.
var repositoryDir = regexp.MustCompile(`^(.+)-[0-9a-f]{16}$`)

// readRepositories reads the lines of sha256sum that the step has left.
func readRepositories(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("engine mock: what dnf saw of the repositories: %w", err)
	}
	defer func() { _ = f.Close() }()
	repositories := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		sum, file, ok := strings.Cut(lines.Text(), "  ")
		if !ok || len(sum) != sha256.Size*2 {
			return nil, fmt.Errorf("engine mock: what dnf saw of the repositories: unexpected line %q", lines.Text())
		}
		repositories[repositoryDir.ReplaceAllString(path.Base(path.Dir(path.Dir(file))), "$1")] = sum
	}
	return repositories, lines.Err()
}
