package mock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
	"github.com/rpmflow/rpmflow/internal/build/mock/images"
)

// session is one attempt. Its steps are called in the order of build.Session.
type session struct {
	e      *Engine
	job    build.Job
	image  string // the mock image's id
	config configured

	root    images.Image     // the initialised root
	made    string           // the source package that was made here; empty: it comes from elsewhere
	missing *rpmflow.Failure // which BuildRequires in the header of one from elsewhere cannot be had
	deps    images.Image     // with the BuildRequires installed

	containers []string // to be removed
	failed     failedStep
}

// inputs returns spec and sources as files for a container.
func inputs(spec, sources string) ([]docker.File, error) {
	files := []docker.File{{Name: path.Join(inSpecs, filepath.Base(spec)), Mode: 0o644, Disk: spec}}
	entries, err := os.ReadDir(sources)
	if err != nil {
		return nil, fmt.Errorf("engine mock: read sources: %w", err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			files = append(files, docker.File{Name: path.Join(inSources, e.Name()), Mode: 0o644,
				Disk: filepath.Join(sources, e.Name())})
		}
	}
	if len(files) == 1 { // mock needs the directory even if it is empty
		files = append(files, docker.File{Name: path.Join(inSources, ".keep"), Mode: 0o644})
	}
	return files, nil
}

// Query implements build.Session.
func (s *session) Query(ctx context.Context, spec, sources string, args ...string) ([]byte, error) {
	files, err := inputs(spec, sources)
	if err != nil {
		return nil, err
	}
	args = append(append(defined(s.job.Build.Options), args...), path.Join("SPECS", filepath.Base(spec)))
	files = append(append(files, s.config.own...), docker.File{Name: path.Join(inWork, "query"), Mode: 0o644,
		Content: []byte(strings.Join(args, "\x00") + "\x00")})
	var out build.Answer
	_, err = s.phase(ctx, rpmflow.PhaseSRPM, step{image: s.root.ID, script: scriptQuery, files: files, stdout: &out})
	text, err := out.Text(err)
	return bytes.TrimSuffix(text, []byte("\n")), err
}

// SRPM implements build.Session.
func (s *session) SRPM(ctx context.Context, spec, sources string) (string, error) {
	files, err := inputs(spec, sources)
	if err != nil {
		return "", err
	}
	files = slices.Concat(files, s.config.own, s.config.repositories)
	st := step{image: s.root.ID, script: scriptSRPM, files: files, env: []string{"SPEC=" + filepath.Base(spec)}}
	if _, err := s.phase(ctx, rpmflow.PhaseSRPM, st); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(s.dir(rpmflow.PhaseSRPM), "*src.rpm")) // or .nosrc.rpm
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("engine mock: mock --buildsrpm left %d source packages", len(found)))
	}
	s.made = found[0]
	return s.made, nil
}

// srpmIn returns a source package as a file for a container, and the variable that names it.
func srpmIn(srpm string) ([]docker.File, []string) {
	name := filepath.Base(srpm)
	return []docker.File{{Name: path.Join(inWork, name), Mode: 0o644, Disk: srpm}}, []string{"SRPM=" + name}
}

// Close has the attempt's containers removed, after it has returned.
func (s *session) Close(context.Context) error {
	for _, id := range s.containers {
		s.e.images.RemoveLater(id)
	}
	s.containers = nil
	return nil
}
