package doctor

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/config"
)

func (e *examination) configuration(cfg *config.Config) {
	file := cfg.File
	if file == "" {
		file = "no file, defaults and environment only"
	}
	e.ok("configuration", "%s: %d projects, %d targets", file, len(cfg.Projects), len(cfg.Targets))
	for _, w := range cfg.Warnings {
		e.add("configuration", Warning, w, "")
	}
}

// dataDir looks whether the data directory, or what it will be made in, can be written, and whether there is room.
func (e *examination) dataDir(cfg *config.Config) {
	const name = "data directory"
	there, err := assembly.DataDir(cfg.DataDir)
	if err != nil {
		e.fault(name, Failed, err)
		return
	}
	if !there {
		e.ok(name, "%s is made at the start", cfg.DataDir)
		return
	}
	room := assembly.Room
	if e.program == config.ForBuilder {
		room = func(string) error { return assembly.NewFloors(cfg, nil).Room(context.Background()) }
	}
	if err := room(cfg.DataDir); err != nil {
		e.fault(name, Failed, err)
		return
	}
	e.ok(name, "%s can be written", cfg.DataDir)
}

// targets looks for the files that targets name.
func (e *examination) targets(cfg *config.Config) {
	const name = "targets"
	if err := cfg.CheckBuilder(); err != nil {
		for line := range strings.Lines(err.Error()) {
			e.add(name, Failed, strings.TrimSpace(line), "")
		}
		return
	}
	if len(cfg.Targets) == 0 {
		e.add(name, Warning, "there is none, so nothing can be built", "define one under targets in the configuration file")
		return
	}
	e.ok(name, "%d, and the mock configurations that they name are there", len(cfg.Targets))
}

func (e *examination) git(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, oneLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "--version").Output()
	if err != nil {
		e.fault("git", Failed, rpmflow.Advise(fmt.Errorf("the command git does not run: %w", err), "install git where the builder runs"))
		return
	}
	e.ok("git", "%s", strings.TrimSpace(string(out)))
}

// programs asks the programs that can be asked: without a role the listener, else the program itself.
func (e *examination) programs(ctx context.Context, cfg *config.Config) {
	who, url := config.ForListener, cfg.PublicURL.String()
	switch e.program {
	case config.ForListener:
		url = config.LocalURL(cfg.Listener.Listen).String()
	case config.ForBuilder:
		if cfg.Builder.StatusListen == "" {
			e.skip(string(config.ForBuilder), "builder.status_listen is empty, so it cannot be asked")
			return
		}
		who, url = config.ForBuilder, config.LocalURL(cfg.Builder.StatusListen).String()
	}
	err := assembly.Ask(ctx, who, strings.TrimRight(url, "/"))
	switch {
	case err == nil:
		e.ok(string(who), "%s is ready", url)
	case errors.Is(err, unix.ECONNREFUSED) && e.program != "":
		e.skip(string(who), "does not run here at the moment: nothing listens at "+url)
	default:
		e.fault(string(who), Failed, err)
	}
}

// maxSkew is more than what clocks that are set from the network ever differ by; S3 refuses signatures at 15 minutes.
const maxSkew = 10 * time.Second

// clock compares this machine's clock with another's, which was read between asked and now.
func (e *examination) clock(whose string, theirs, asked time.Time) {
	name := "clock of " + whose
	skew := time.Until(theirs)
	if took := time.Since(asked); skew < 0 && skew > -took { // it was read on the way
		skew = 0
	}
	if skew.Abs() > maxSkew {
		e.add(name, Warning, fmt.Sprintf("differs from this machine's by %s", skew.Abs().Round(time.Second)), "set the clocks from the network (NTP): S3 refuses what is 15 minutes off")
		return
	}
	e.ok(name, "agrees with this machine's")
}
