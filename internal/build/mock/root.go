package mock

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	"github.com/rpmflow/rpmflow/internal/build/mock/mocklog"
)

// maxUpdates is how many layers are put on a root before it is made anew: engines allow some 125, and each costs a little.
const maxUpdates = 20

// Root gives the build a root that was compared with the repositories no longer ago than the target allows: the image that is
// there, or that image after mock has updated it, or a new one.
func (s *session) Root(ctx context.Context) error {
	root, have, err := s.shared(ctx, s.rootRecipe(false))
	var outdated *outdatedError
	if errors.As(err, &outdated) { // dnf finds no way from the old packages to the new ones
		_, _ = fmt.Fprintf(s.job.Log, "rpmflow: the root cannot be updated, making it anew: %v\n", outdated.err)
		root, have, err = s.shared(ctx, s.rootRecipe(true))
	}
	stale := false
	if err != nil {
		if have == nil || !s.job.Target.AllowStale || ctx.Err() != nil {
			return err
		}
		_, _ = fmt.Fprintf(s.job.Log, "rpmflow: the repositories cannot be asked, going on with the root of %s, as the target allows: %v\n", have.time.UTC().Format(time.RFC3339), err)
		root, stale = *have, true
	}
	s.root = root
	s.job.OnRoot(root.record(stale))
	return nil
}

// outdatedError says that a root could not be updated though the repositories answered.
type outdatedError struct{ err error }

func (e *outdatedError) Error() string { return e.err.Error() }
func (e *outdatedError) Unwrap() error { return e.err }

func (s *session) rootRecipe(anew bool) recipe {
	fromMock := func(have *cached) bool { return anew || have == nil || have.updates >= maxUpdates }
	asked := time.Now().Truncate(time.Second) // as exactly as labels know it
	return recipe{
		kind: kindRoot, key: s.rootKey(), phase: rpmflow.PhaseRoot,
		good: func(c cached) bool {
			if anew {
				return !c.made.Before(asked)
			}
			// What was compared since the attempt began is as new as the attempt can ask for, however long it took: where a root takes
			// longer than max_age to make, it would never be good.
			began := s.job.Build.StartedAt
			return time.Since(c.time).Abs() <= s.job.Target.MaxAge || began != nil && !c.time.Before(began.Truncate(time.Second))
		},
		plan: func(have *cached) step {
			if fromMock(have) {
				return s.step(rpmflow.PhaseRoot, step{image: s.image, network: true, script: scriptInit, files: s.config.files})
			}
			st := s.step(rpmflow.PhaseRoot, step{image: have.id, network: true, script: scriptUpdate})
			st.failed = func(end ended, err error) error {
				if mocklog.Unreachable(end.output) {
					return err
				}
				return &outdatedError{err}
			}
			return st
		},
		done: func(ctx context.Context, have *cached, end ended, began time.Time) (cached, error) {
			return s.rootDone(ctx, have, fromMock(have), end, began)
		},
	}
}

// rootKey tells the root of this target from others on the engine: those of other installations among them.
func (s *session) rootKey() string {
	sum := sha256.Sum256([]byte(s.e.s.Installation + " " + s.config.digest(s.image, s.job.Target.Name)))
	return hex.EncodeToString(sum[:])[:keyLength]
}

// rootDone keeps what mock has made; an update that found nothing new only renews the time of the image that was there.
func (s *session) rootDone(ctx context.Context, have *cached, fromMock bool, end ended, began time.Time) (cached, error) {
	dir := s.dir(rpmflow.PhaseRoot)
	repositories, err := readRepositories(filepath.Join(dir, "repositories"))
	if err != nil {
		return cached{}, err
	}
	encoded, err := json.Marshal(repositories)
	if err != nil {
		return cached{}, fmt.Errorf("engine mock: %w", err)
	}
	if !fromMock {
		if maps.Equal(repositories, have.repositories()) {
			return s.e.touch(ctx, kindRoot, *have, began)
		}
		c := *have
		c.time, c.made, c.updates = began, began, have.updates+1
		c.labels = maps.Clone(have.labels)
		c.labels[labelRepositories] = string(encoded)
		made, err := s.keep(ctx, kindRoot, end.id, c)
		if err == nil {
			// Its layers stay below the new image; without a name it is found by nobody.
			err = s.e.removeImage(ctx, have.name)
		}
		return made, err
	}
	config, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		return cached{}, fmt.Errorf("engine mock: configuration as mock expands it: %w", err)
	}
	sum := sha256.Sum256(config)
	labels := map[string]string{labelMockImage: s.image, labelConfig: hex.EncodeToString(sum[:]), labelRepositories: string(encoded), labelByName: fmt.Sprint(byName.Match(config))}
	return s.keep(ctx, kindRoot, end.id, cached{key: s.rootKey(), time: began, made: began, labels: labels})
}

// byName finds the option in the configuration as mock prints it: what differs from the default.
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
			return nil, fmt.Errorf("engine mock: what dnf saw of the repositories: %q is not understood", lines.Text())
		}
		repositories[repositoryDir.ReplaceAllString(path.Base(path.Dir(path.Dir(file))), "$1")] = sum
	}
	return repositories, lines.Err()
}
