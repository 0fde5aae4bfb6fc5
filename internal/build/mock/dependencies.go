package mock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Dependencies gives the build an image of its root with the BuildRequires in it: that of an earlier build of the package, as long
// as root and BuildRequires are the same, or a new one.
//
// What a source package from elsewhere requires was decided where it was made. The target may see that otherwise: mock makes it anew, and
// then RPMs asks for what that one requires. So it is no failure yet when something is not to be had.
func (s *session) Dependencies(ctx context.Context, srpm string) (err error) {
	s.deps, err = s.install(ctx, srpm, s.root)
	var missing *rpmflow.Failure
	if srpm != s.made && errors.As(err, &missing) && missing.Kind == rpmflow.FailureDependencies {
		_, _ = fmt.Fprintf(s.job.Log, "rpmflow: %v; looking at what it requires on this target\n", missing)
		s.deps, s.missing, err = s.root, missing, nil
	}
	return err
}

// install makes the image of the dependencies: that of the root, or of earlier dependencies, with those of a package installed.
func (s *session) install(ctx context.Context, srpm string, from cached) (cached, error) {
	key, err := s.dependenciesKey(srpm, from)
	if err != nil {
		return cached{}, err
	}
	files, env := srpmIn(srpm)
	files = append(files, s.config.repositories...)
	found := true
	asked := time.Now().Truncate(time.Second)
	c, _, err := s.shared(ctx, recipe{
		kind: kindDependencies, key: key, phase: rpmflow.PhaseDependencies,
		// The root's own age says nothing of the build's own repositories.
		good: func(c cached) bool {
			return s.config.repositories == nil || !c.made.Before(asked) || time.Since(c.made).Abs() <= s.job.Target.MaxAge
		},
		plan: func(*cached) step {
			found = false
			return s.step(rpmflow.PhaseDependencies, step{image: from.id, network: true, script: scriptDeps, files: files, env: env})
		},
		done: func(ctx context.Context, _ *cached, end ended, began time.Time) (cached, error) {
			c := from
			c.key, c.name, c.time = key, "", began
			// The root has it all; but not what dnf has to know of other repositories when it looks again without a network.
			if s.config.repositories == nil && isFile(filepath.Join(s.dir(rpmflow.PhaseDependencies), "unchanged")) {
				return s.e.touch(ctx, kindDependencies, c, began)
			}
			c.made, c.labels = began, maps.Clone(from.labels)
			if from.labels[LabelKind] == string(kindRoot) {
				c.labels[labelRoot] = from.id
			}
			return s.keep(ctx, kindDependencies, end.id, c)
		},
	})
	if err != nil || !found {
		return c, err
	}
	_, _ = fmt.Fprintf(s.job.Log, "rpmflow: the BuildRequires are those of an earlier build, in the same root: installed at %s\n", c.made.UTC().Format(time.RFC3339))
	if time.Since(c.time).Abs() < usedSeldom {
		return c, nil
	}
	return s.e.touch(ctx, kindDependencies, c, time.Now())
}

// usedSeldom is how exactly the time of an image's last use is known.
const usedSeldom = time.Minute

// dependenciesKey tells apart what is installed into the root: by the root, the package and its requirements. No package shares
// an image with another: the list of its requirements is made by its own code.
func (s *session) dependenciesKey(srpm string, from cached) (string, error) {
	requires, err := rpmfile.Requires(srpm)
	if err != nil {
		return "", rpmflow.Fail(rpmflow.FailureSpec, "", "the source package cannot be read: %v", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q", s.e.s.Installation, from.id, s.job.Build.Project, s.job.Build.Package)
	if from.labels[labelByName] == "true" {
		p, err := rpmfile.Package(srpm)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, " %q", p.NEVRA())
	}
	slices.Sort(requires)
	fmt.Fprintf(h, " %q", slices.Compact(requires))
	for _, f := range s.config.repositories {
		fmt.Fprintf(h, " %q", f.content)
	}
	return hex.EncodeToString(h.Sum(nil))[:keyLength], nil
}

// RPMs runs the package's own build, from the dependencies and without a network.
func (s *session) RPMs(ctx context.Context, srpm string) ([]string, error) {
	files, env := srpmIn(srpm)
	files = slices.Concat(files, s.config.own, s.config.repositories)
	requires, err := rpmfile.Requires(srpm)
	if err != nil {
		return nil, fmt.Errorf("engine mock: %w", err)
	}
	left, err := rpmfile.LeftOut(srpm)
	if err != nil {
		return nil, fmt.Errorf("engine mock: %w", err)
	}
	for _, name := range left { // mock leaves what lies in SOURCES
		files = append(files, file{name: path.Join(inLeftOut, name), mode: 0o644, disk: filepath.Join(s.job.Sources, name)})
	}
	last := strings.Join(requires, "\n")
	installed := "INSTALLED=yes" // exactly what the package requires
	if s.missing != nil {
		installed = "INSTALLED="
	}
	for round := 0; ; round++ {
		_, err := s.phase(ctx, rpmflow.PhaseRPMs, step{image: s.deps.id, script: scriptRPMs, files: files, env: append(env, installed)})
		if err == nil {
			break
		}
		asked, digest, aerr := s.asked()
		if aerr != nil || asked == "" || digest == last || round == maxRounds {
			if s.missing != nil {
				err = s.missing
			}
			return nil, errors.Join(err, aerr)
		}
		last, s.missing, installed = digest, nil, "INSTALLED="
		_, _ = io.WriteString(s.job.Log, "rpmflow: installing what the package asks for in this root\n")
		if s.deps, err = s.install(ctx, asked, s.deps); err != nil {
			return nil, err
		}
		if err := os.RemoveAll(s.dir(rpmflow.PhaseRPMs)); err != nil {
			return nil, fmt.Errorf("engine mock: %w", err)
		}
	}
	found, err := filepath.Glob(filepath.Join(s.dir(rpmflow.PhaseRPMs), "*.rpm"))
	if err != nil {
		return nil, fmt.Errorf("engine mock: %w", err)
	}
	// mock makes the SRPM anew in the root; the one that was built from is the one that is kept.
	return slices.DeleteFunc(found, func(name string) bool {
		return strings.HasSuffix(name, ".src.rpm") || strings.HasSuffix(name, ".nosrc.rpm")
	}), nil
}

// asked finds the package that lists what was asked for and not there: by %generate_buildrequires, or by the source package as mock has
// made it anew.
func (s *session) asked() (name, digest string, err error) {
	for _, pattern := range []string{"*.buildreqs.nosrc.rpm", "*.src.rpm", "*.nosrc.rpm"} {
		found, err := filepath.Glob(filepath.Join(s.dir(rpmflow.PhaseRPMs), pattern))
		if err != nil {
			return "", "", fmt.Errorf("engine mock: %w", err)
		}
		if len(found) > 0 {
			requires, err := rpmfile.Requires(found[0])
			return found[0], strings.Join(requires, "\n"), err
		}
	}
	return "", "", nil
}
