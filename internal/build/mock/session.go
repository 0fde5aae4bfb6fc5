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

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build"
)

// prelude prepares a container and defines run_mock; every step begins with it.
//
//go:embed prelude.sh
var prelude string

// The steps. Network: root and dependencies install packages; the others run what a package's author wrote.
const (
	scriptInit = `use_packages
run_mock --init --no-clean
keep_config
note_repositories`
	scriptUpdate = `use_packages
run_mock --update
note_repositories`
	// The root's own rpm reads the spec, with the target's macros; the sources are there for specs that include them. What rpm is
	// asked comes in a file: it goes through no shell. The engine may lose a last line that does not end, so that one more end is put behind it.
	scriptQuery = `give_devices
tar -C ` + inWork + ` -cf - SPECS SOURCES query | run_mock --offline --quiet --unpriv --shell "cd /builddir/build && tar -xf - && xargs -0 -x rpmspec <query && echo"`
	scriptSRPM = `show_config
give_devices
run_mock --offline --no-clean --no-cleanup-after --buildsrpm --spec "` + inSpecs + `/$SPEC" --sources ` + inSources
	scriptDeps = `use_packages
before=$(installed)
run_mock --no-clean --no-cleanup-after --installdeps "` + inWork + `/$SRPM"
[ "$(installed)" != "$before" ] || : >"$OUT/unchanged"
note_repositories`
	// What the package asks for and cannot have offline is taken out, to be installed with the network: the list of %generate_buildrequires, or
	// the source package as mock has made it anew, where that requires something else.
	scriptRPMs = `code=0
give_devices
for f in ` + inLeftOut + `/*; do
	[ -f "$f" ] || continue
	for root in /var/lib/mock/*/root; do
		mkdir -p "$root/builddir/build/SOURCES"
		cp -p "$f" "$root/builddir/build/SOURCES"
	done
done
requires() { rpm -qpR "$1" 2>/dev/null | LC_ALL=C sort -u; }
[ -z "$INSTALLED" ] || requires "` + inWork + `/$SRPM" >/rpmflow/installed
spare_dnf
run_mock --offline --no-clean --no-cleanup-after --rebuild "` + inWork + `/$SRPM" || code=$?
[ $code != 0 ] || exit 0
for f in /var/lib/mock/*/root/builddir/build/SRPMS/*src.rpm; do
	case $f in
	*.buildreqs.nosrc.rpm) cp "$f" "$OUT" || true ;;
	*) [ ! -f "$f" ] || [ "$(requires "$f")" = "$(requires "` + inWork + `/$SRPM")" ] || cp "$f" "$OUT" || true ;;
	esac
done
exit $code`
)

// maxRounds is how often %generate_buildrequires may ask for more packages; mock's own limit.
const maxRounds = 10

type session struct {
	e      *Engine
	job    build.Job
	image  string // the mock image's id
	config configured

	root cached // the initialised root
	made string // the source package that was made here; one from elsewhere is another
	// missing is what was not to be had for one from elsewhere.
	missing *rpmflow.Failure
	deps    cached // with the BuildRequires installed

	containers []string
	failed     failed
}

// step completes a step of a phase.
func (s *session) step(phase rpmflow.Phase, st step) step {
	st.env = append(append([]string{"OUT=" + s.out(phase)}, s.config.env...), st.env...)
	return st
}

// phase runs one step in a container of its own.
func (s *session) phase(ctx context.Context, phase rpmflow.Phase, st step) (ended, error) {
	st = s.step(phase, st)
	id, err := s.create(ctx, st)
	if err != nil {
		return ended{}, err
	}
	return s.perform(ctx, phase, id, st)
}

// perform runs a step and takes its results into a directory of the phase. A failure of mock is sorted into the packager's or ours.
func (s *session) perform(ctx context.Context, phase rpmflow.Phase, id string, st step) (ended, error) {
	end, err := s.run(ctx, id, st)
	if end.id != "" && (end.stopped || err != nil || end.exitCode != 0) {
		s.fails(end.id)
	}
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
	return end, s.failure(ctx, end, phase, st)
}

func (s *session) out(phase rpmflow.Phase) string { return path.Join(inOut, string(phase)) }
func (s *session) dir(phase rpmflow.Phase) string { return filepath.Join(s.job.Dir, string(phase)) }

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

func (s *session) Query(ctx context.Context, spec, sources string, args ...string) ([]byte, error) {
	files, err := inputs(spec, sources)
	if err != nil {
		return nil, err
	}
	args = append(append(defined(s.job.Build.Options), args...), path.Join("SPECS", filepath.Base(spec)))
	files = append(append(files, s.config.own...), file{name: path.Join(inWork, "query"), mode: 0o644, content: []byte(strings.Join(args, "\x00") + "\x00")})
	var out build.Answer
	_, err = s.phase(ctx, rpmflow.PhaseSRPM, step{image: s.root.id, script: scriptQuery, files: files, stdout: &out})
	text, err := out.Text(err)
	return bytes.TrimSuffix(text, []byte("\n")), err
}

func (s *session) SRPM(ctx context.Context, spec, sources string) (string, error) {
	files, err := inputs(spec, sources)
	if err != nil {
		return "", err
	}
	files = slices.Concat(files, s.config.own, s.config.repositories)
	if _, err := s.phase(ctx, rpmflow.PhaseSRPM, step{image: s.root.id, script: scriptSRPM, files: files, env: []string{"SPEC=" + filepath.Base(spec)}}); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(s.dir(rpmflow.PhaseSRPM), "*.src.rpm"))
	without, nerr := filepath.Glob(filepath.Join(s.dir(rpmflow.PhaseSRPM), "*.nosrc.rpm"))
	found, err = append(found, without...), errors.Join(err, nerr)
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("engine mock: mock --buildsrpm left %d source packages", len(found)))
	}
	s.made = found[0]
	return s.made, nil
}

func srpmIn(srpm string) ([]file, []string) {
	name := filepath.Base(srpm)
	return []file{{name: path.Join(inWork, name), mode: 0o644, disk: srpm}}, []string{"SRPM=" + name}
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

// Close has the attempt's containers removed.
func (s *session) Close(context.Context) error {
	for _, id := range s.containers {
		s.e.bury(id)
	}
	s.containers = nil
	return nil
}
