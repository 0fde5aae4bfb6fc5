package mock

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
)

// prelude prepares a container and defines run_mock; every step begins with it.
//
//go:embed prelude.sh
var prelude string

// The steps. Network: root and dependencies install packages; the others run what a package's author wrote.
const (
	scriptRoot = `run_mock --init`
	// The root's own rpm reads the spec, with the target's macros; the sources are there for specs that include them.
	scriptExpand = `tar -C ` + inRoot + ` -cf - SPECS SOURCES | run_mock --offline --quiet --unpriv --shell "cd /builddir/build && tar -xf - && rpmspec -P SPECS/package.spec"`
	scriptSRPM   = `show_config &
code=0
run_mock --offline --no-clean --no-cleanup-after --buildsrpm --spec "` + inSpecs + `/$SPEC" --sources ` + inSources + ` || code=$?
wait
exit $code`
	scriptDeps = `run_mock --no-clean --no-cleanup-after --installdeps "` + inRoot + `/$SRPM"`
	// What %generate_buildrequires asks for and cannot have offline is taken out, to be installed with the network.
	scriptRPMs = `code=0
run_mock --offline --no-clean --no-cleanup-after --rebuild "` + inRoot + `/$SRPM" || code=$?
[ $code = 0 ] || cp /var/lib/mock/*/root/builddir/build/SRPMS/*.buildreqs.nosrc.rpm "$OUT" 2>/dev/null || true
exit $code`
)

// maxRounds is how often %generate_buildrequires may ask for more packages; mock's own limit.
const maxRounds = 10

// maxExpanded bounds what a spec may expand to.
const maxExpanded = 16 << 20

type session struct {
	e      *Engine
	job    build.Job
	image  string // the mock image's id
	config configured

	root string // image with the initialised root
	deps string // image with the BuildRequires installed

	containers []string
	images     []string
}

// phase runs one step and takes its results into a directory of the phase. A failure of mock is sorted into the packager's or ours.
func (s *session) phase(ctx context.Context, phase rpmflow.Phase, st step) (ended, error) {
	st.env = append(append([]string{"OUT=" + s.out(phase)}, s.config.env...), st.env...)
	end, err := s.run(ctx, st)
	if end.stopped {
		return end, s.stopped(ctx, end, phase, err)
	}
	if end.id != "" {
		err = errors.Join(err, s.e.copyOut(ctx, end.id, s.out(phase), s.dir(phase)))
	}
	if ctx.Err() != nil {
		return end, context.Cause(ctx)
	}
	if err != nil || end.exitCode == 0 {
		return end, err
	}
	return end, s.failure(ctx, end, phase)
}

func (s *session) out(phase rpmflow.Phase) string { return path.Join(inOut, string(phase)) }
func (s *session) dir(phase rpmflow.Phase) string { return filepath.Join(s.job.Dir, string(phase)) }

// errorLines picks what mock calls an error, or else the last that was said.
func errorLines(output []string) []string {
	var lines []string
	for _, l := range output {
		if strings.Contains(l, "ERROR") || strings.HasPrefix(l, "rpmflow:") {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	if len(lines) == 0 {
		lines = output
	}
	return lines[max(0, len(lines)-5):]
}

// commit makes an image of a container as it was left.
func (s *session) commit(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commitWait)
	defer cancel()
	made, err := s.e.api.ContainerCommit(ctx, id, container.CommitOptions{Pause: false, Config: &container.Config{Labels: s.e.labels(s.job.Build)}})
	if err != nil {
		return "", fmt.Errorf("engine mock: commit container %s: %w", id, err)
	}
	s.images = append(s.images, made.ID)
	return made.ID, nil
}

func (s *session) Root(ctx context.Context) error {
	end, err := s.phase(ctx, rpmflow.PhaseRoot, step{image: s.image, network: true, script: scriptRoot, files: s.config.files})
	if err != nil {
		return err
	}
	s.root, err = s.commit(ctx, end.id)
	return err
}

// inputs gives spec and sources as files for a container.
func inputs(spec, sources string) ([]file, error) {
	files := []file{{name: path.Join(inSpecs, filepath.Base(spec)), mode: 0o644, disk: spec}}
	entries, err := os.ReadDir(sources)
	if err != nil {
		return nil, fmt.Errorf("engine mock: read sources: %w", err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			files = append(files, file{name: path.Join(inSources, e.Name()), mode: 0o644, disk: filepath.Join(sources, e.Name())})
		}
	}
	if len(files) == 1 { // mock wants the directory even when it is empty
		files = append(files, file{name: path.Join(inSources, ".keep"), mode: 0o644})
	}
	return files, nil
}

func (s *session) Expand(ctx context.Context, spec, sources string) ([]byte, error) {
	files, err := inputs(spec, sources)
	if err != nil {
		return nil, err
	}
	files[0].name = path.Join(inSpecs, "package.spec") // a name that is safe in a command
	var out bytes.Buffer
	_, err = s.phase(ctx, rpmflow.PhaseSRPM, step{
		image: s.root, script: scriptExpand, files: files, stdout: &bounded{w: &out, left: maxExpanded},
	})
	return out.Bytes(), err
}

func (s *session) SRPM(ctx context.Context, spec, sources string) (string, error) {
	files, err := inputs(spec, sources)
	if err != nil {
		return "", err
	}
	if _, err := s.phase(ctx, rpmflow.PhaseSRPM, step{image: s.root, script: scriptSRPM, files: files, env: []string{"SPEC=" + filepath.Base(spec)}}); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(s.dir(rpmflow.PhaseSRPM), "*.src.rpm"))
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("engine mock: mock --buildsrpm left %d source packages", len(found)))
	}
	return found[0], nil
}

func srpmIn(srpm string) ([]file, []string) {
	name := filepath.Base(srpm)
	return []file{{name: path.Join(inRoot, name), mode: 0o644, disk: srpm}}, []string{"SRPM=" + name}
}

func (s *session) Dependencies(ctx context.Context, srpm string) error {
	return s.install(ctx, srpm, s.root)
}

// install makes the image of the dependencies: that of the root, or of earlier dependencies, with those of a package installed.
func (s *session) install(ctx context.Context, srpm, from string) error {
	files, env := srpmIn(srpm)
	end, err := s.phase(ctx, rpmflow.PhaseDependencies, step{image: from, network: true, script: scriptDeps, files: files, env: env})
	if err != nil {
		return err
	}
	s.deps, err = s.commit(ctx, end.id)
	return err
}

func (s *session) RPMs(ctx context.Context, srpm string) ([]string, error) {
	files, env := srpmIn(srpm)
	var last string
	for round := 0; ; round++ {
		_, err := s.phase(ctx, rpmflow.PhaseRPMs, step{image: s.deps, script: scriptRPMs, files: files, env: env})
		if err == nil {
			break
		}
		asked, digest, aerr := s.generated()
		if aerr != nil || asked == "" || digest == last || round == maxRounds {
			return nil, errors.Join(err, aerr)
		}
		last = digest
		_, _ = io.WriteString(s.job.Log, "rpmflow: installing what %generate_buildrequires asks for\n")
		if err := s.install(ctx, asked, s.deps); err != nil {
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
	return slices.DeleteFunc(found, func(name string) bool { return strings.HasSuffix(name, ".src.rpm") }), nil
}

// generated finds the package that lists what %generate_buildrequires asked for and did not get.
func (s *session) generated() (name, digest string, err error) {
	found, err := filepath.Glob(filepath.Join(s.dir(rpmflow.PhaseRPMs), "*.buildreqs.nosrc.rpm"))
	if err != nil || len(found) == 0 {
		return "", "", err
	}
	requires, err := build.Requires(found[0])
	return found[0], strings.Join(requires, "\n"), err
}

// Logs joins the phases' logs of the same name, except for build.log, which is the last one's.
func (s *session) Logs() []string {
	var logs []string
	phases := []rpmflow.Phase{rpmflow.PhaseRoot, rpmflow.PhaseSRPM, rpmflow.PhaseDependencies, rpmflow.PhaseRPMs}
	for _, name := range []string{"build.log", "root.log", "state.log", "installed_pkgs.log", configLog} {
		var found []string
		for _, p := range phases {
			if file := filepath.Join(s.dir(p), name); isFile(file) {
				found = append(found, file)
			}
		}
		switch {
		case len(found) == 0:
		case len(found) == 1 || name == "build.log" || name == "installed_pkgs.log":
			logs = append(logs, found[len(found)-1])
		default:
			joined := filepath.Join(s.job.Dir, name)
			if err := join(joined, found); err != nil {
				s.e.s.Logger.Warn("logs not joined, keeping the last", "log", name, "error", err)
				joined = found[len(found)-1]
			}
			logs = append(logs, joined)
		}
	}
	return logs
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func join(name string, parts []string) (err error) {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, part := range parts {
		in, err := os.Open(part)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "==> %s <==\n", filepath.Base(filepath.Dir(part)))
		if err == nil {
			_, err = io.Copy(out, in)
		}
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Close removes the attempt's containers and then their images.
func (s *session) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUpWait)
	defer cancel()
	var errs []error
	for _, id := range s.containers {
		errs = append(errs, s.e.removeContainer(ctx, id))
	}
	for _, id := range slices.Backward(s.images) { // the later ones are made from the earlier ones
		errs = append(errs, s.e.removeImage(ctx, id))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.containers, s.images = nil, nil
	return nil
}

// bounded refuses to take more than its limit.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, rpmflow.Fail(rpmflow.FailureSpec, "look for a macro that repeats itself", "the spec expands to more than %d bytes", maxExpanded)
	}
	return b.w.Write(p)
}
