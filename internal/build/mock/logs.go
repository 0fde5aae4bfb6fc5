package mock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rpmflow/rpmflow"
)

// Logs implements build.Session. It joins the phases' logs of the same name, except for build.log, which is the last
// phase's.
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
