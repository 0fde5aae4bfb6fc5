package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
)

// Store keeps what a build leaves behind.
type Store interface {
	PutFile(ctx context.Context, key, file string, kind rpmflow.ArtifactKind) (rpmflow.Artifact, error)
	PutLog(ctx context.Context, key, file string) (rpmflow.Artifact, error)
	PutJSON(ctx context.Context, key string, v any) error
}

// StoreRecord stores the final record of a build next to its artifacts.
func StoreRecord(ctx context.Context, store Store, final rpmflow.Build) error {
	return store.PutJSON(ctx, final.Prefix()+"build.json", final)
}

const uploadWait = 15 * time.Minute

// upload stores packages and logs. The record is stored by the caller, who decides whether this attempt was the last.
func (r *run) upload(ctx context.Context, outcome rpmflow.Outcome) error {
	ctx, cancel := context.WithTimeout(ctx, uploadWait)
	defer cancel()
	if err := r.enter(ctx, rpmflow.PhaseUpload); err != nil {
		return err
	}
	if outcome.Result == rpmflow.Succeeded {
		err := r.putPackages(ctx)
		if canceled := r.canceled(); canceled != nil {
			outcome, r.b.Packages, r.b.Artifacts = rpmflow.OutcomeOf(rpmflow.PhaseUpload, canceled), nil, nil
		} else if err != nil {
			return err
		}
	}
	logs, err := r.logs(outcome)
	if err != nil {
		return err
	}
	for _, file := range logs {
		a, err := r.Store.PutLog(ctx, r.b.Prefix()+filepath.Base(file)+".gz", file)
		if err != nil {
			return err
		}
		r.add(a, filepath.Base(file))
	}
	now := time.Now()
	r.b.LeavePhase(now)
	finished := now.UTC()
	r.b.State, r.b.Outcome, r.b.FinishedAt = rpmflow.Finished, &outcome, &finished
	return nil
}

// canceled returns why the build was canceled, nil if it was not.
func (r *run) canceled() error {
	if r.Cancel == nil {
		return nil
	}
	return context.Cause(r.Cancel)
}

// putPackages stores what was built, unless the build is canceled meanwhile.
func (r *run) putPackages(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if r.Cancel != nil {
		defer context.AfterFunc(r.Cancel, stop)()
	}
	for _, file := range append([]string{r.srpm}, r.rpms...) {
		if err := r.putPackage(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) putPackage(ctx context.Context, file string) error {
	p, err := rpmfile.Package(file)
	if err != nil {
		return err
	}
	kind := rpmflow.KindRPM
	if p.Arch == "src" {
		kind = rpmflow.KindSRPM
	}
	a, err := r.Store.PutFile(ctx, r.b.Prefix()+filepath.Base(file), file, kind)
	if err != nil {
		return err
	}
	a.NEVRA = p.String()
	r.add(a, filepath.Base(file))
	r.b.Packages = append(r.b.Packages, rpmflow.Package(p))
	return nil
}

func (r *run) add(a rpmflow.Artifact, name string) {
	a.Name, a.URL = name, r.URL(a.Key)
	r.b.Artifacts = append(r.b.Artifacts, a)
}

// logs returns the engine's logs. The build.log of a failed build ends with the reason, which mock may have said
// elsewhere; a build that came to an end before it had one gets one.
func (r *run) logs(outcome rpmflow.Outcome) ([]string, error) {
	var logs []string
	if r.session != nil {
		logs = r.session.Logs()
	}
	i := slices.IndexFunc(logs, func(file string) bool { return filepath.Base(file) == "build.log" })
	if i >= 0 && outcome.Result == rpmflow.Succeeded {
		return logs, nil
	}
	file := filepath.Join(r.Dir, "build.log")
	if i >= 0 {
		file = logs[i]
	} else {
		logs = append([]string{file}, logs...)
	}
	text := fmt.Sprintf("\nrpmflow: %s in phase %s: %s: %s\n", outcome.Result, outcome.Phase, outcome.Kind,
		outcome.Message)
	if outcome.Result == rpmflow.Skipped {
		text = fmt.Sprintf("\nrpmflow: skipped: %s\n", outcome.Message)
	}
	for _, line := range outcome.Excerpt {
		text += "rpmflow: > " + line + "\n"
	}
	if outcome.Hint != "" {
		text += "rpmflow: " + outcome.Hint + "\n"
	}
	if err := appendTo(file, text); err != nil {
		return nil, fmt.Errorf("write the reason into build.log: %w", err)
	}
	return logs, nil
}

func appendTo(name, text string) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(text)
	return err
}
