package mock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Dependencies gives the build an image of its root with the BuildRequires in it: that of an earlier build of the
// package, as long as root and BuildRequires are the same, or a new one.
//
// A source package from elsewhere has the requirements of the place where it was made. They may differ on this target:
// mock makes it again, and then RPMs installs what that one requires. So a package that is not available is not a
// failure yet.
func (s *session) Dependencies(ctx context.Context, srpm string) (err error) {
	s.deps, err = s.install(ctx, srpm, s.root)
	var missing *rpmflow.Failure
	if srpm != s.made && errors.As(err, &missing) && missing.Kind == rpmflow.FailureDependencies {
		_, _ = fmt.Fprintf(s.job.Log, "rpmflow: %v; looking at what it requires on this target\n", missing)
		s.deps, s.missing, err = s.root, missing, nil
	}
	return err
}

// install returns the image from, which is a root or has earlier dependencies, with those of a source package
// installed.
func (s *session) install(ctx context.Context, srpm string, from images.Image) (images.Image, error) {
	requirements, err := s.requirements(srpm, from)
	if err != nil {
		return images.Image{}, err
	}
	key := s.e.images.DependenciesKey(from, requirements)
	files, env := srpmIn(srpm)
	found := true
	asked := time.Now().Truncate(time.Second)
	var st step
	r := s.recipe(images.Dependencies, key)
	r.What = func(*images.Image) string { return "what " + s.job.Build.Package + " needs to be built" }
	// The root's own age says nothing about the build's own repositories; a revision of the published one is as it was.
	r.Good = func(i images.Image) bool {
		return len(s.job.Build.Options.Repositories) == 0 || !i.Made.Before(asked) ||
			time.Since(i.Made).Abs() <= s.job.Target.MaxAge
	}
	r.Create = func(ctx context.Context, name string, _ *images.Image) (string, error) {
		found = false
		st = s.step(rpmflow.PhaseDependencies, step{name: name, image: from.ID, network: true, script: scriptDeps,
			files: files, env: env, failed: s.ownFailed})
		return s.create(ctx, st)
	}
	r.Make = func(ctx context.Context, container string, _ *images.Image) (images.Image, error) {
		repositories, end, err := s.reachRepositories(ctx)
		if err != nil {
			return images.Image{}, err
		}
		defer end()
		st.files = slices.Concat(st.files, repositories)
		began, err := s.makeShared(ctx, rpmflow.PhaseDependencies, container, st)
		if err != nil {
			s.failed = failedStep{image: from.ID,
				what: "the root in which the BuildRequires could not be installed, as it was before"}
			return images.Image{}, err
		}
		// If the root has everything, it serves itself; but not if dnf needs other repositories when it looks again
		// without a network.
		if s.config.repositories == nil && isFile(filepath.Join(s.dir(rpmflow.PhaseDependencies), "unchanged")) {
			return s.e.images.Touch(ctx, images.Dependencies, from.As(key, began), began)
		}
		return s.e.images.Commit(ctx, images.Dependencies, container, s.job.Target.Name, from.With(key, began))
	}
	image, _, err := s.e.images.Get(ctx, r)
	if err != nil || !found {
		return image, err
	}
	_, _ = fmt.Fprintf(s.job.Log, "rpmflow: the BuildRequires are those of an earlier build, in the same root: "+
		"installed at %s\n", image.Made.UTC().Format(time.RFC3339))
	return s.e.images.Use(ctx, images.Dependencies, image)
}

// requirements are what a source package needs, as the key of the image has them.
func (s *session) requirements(srpm string, from images.Image) (images.Requirements, error) {
	r := images.Requirements{Project: s.job.Build.Project, Package: s.job.Build.Package}
	var err error
	if r.Requires, err = rpmfile.Requires(srpm); err != nil {
		return r, rpmflow.Fail(rpmflow.FailureSpec, "", "the source package cannot be read: %v", err)
	}
	if from.ByName() {
		p, err := rpmfile.Package(srpm)
		if err != nil {
			return r, err
		}
		r.NEVRA = p.String()
	}
	for _, f := range s.config.repositories {
		r.Repositories = append(r.Repositories, string(f.Content))
	}
	return r, nil
}

// maxRounds is how often %generate_buildrequires may ask for more packages; mock's own limit.
const maxRounds = 10

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
	for _, name := range left { // mock does not remove what is in SOURCES
		files = append(files, docker.File{
			Name: path.Join(inLeftOut, name), Mode: 0o644, Disk: filepath.Join(s.job.Sources, name),
		})
	}
	last := strings.Join(requires, "\n")
	installed := "INSTALLED=yes" // exactly what the package requires
	if s.missing != nil {
		installed = "INSTALLED="
	}
	for round := 0; ; round++ {
		_, err := s.phase(ctx, rpmflow.PhaseRPMs,
			step{image: s.deps.ID, script: scriptRPMs, files: files, env: append(env, installed)})
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
	// mock makes the SRPM again in the root; the one that was built from is kept.
	return slices.DeleteFunc(found, func(name string) bool {
		return strings.HasSuffix(name, ".src.rpm") || strings.HasSuffix(name, ".nosrc.rpm")
	}), nil
}

// asked finds the package that lists what was asked for and not there: by %generate_buildrequires, or by the source
// package as mock has made it again.
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
