package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/publisherd"
	"github.com/rpmflow/rpmflow/internal/repo"
)

func repoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "repo", Short: "List, check and change the dnf repositories of what was built",
		Long: `The publisher makes a dnf repository for each project and target, and two more for debuginfo and sources.
Each publication is a revision, whose URL always has the same content. These commands read and write the storage: they
need its keys. Those that change a repository also need the signing key, and announce the change in NATS, where status
asks, too.`,
		Example: "  rpmflow repo list\n  rpmflow repo show hello fedora-43-x86_64",
	}
	cmd.AddCommand(repoList(), repoShow(), repoStatus(), repoVerify(), repoRollback(), repoPin(), repoRemove(),
		repoPromote(), repoRebuild(), repoSign(), repoNewKey())
	return cmd
}

// needs is what a command needs besides the storage.
type needs int

const (
	needsNothing needs = iota
	// mayAnnounce: it changes what is published, which it announces if NATS is there.
	mayAnnounce
	needsNATS
)

// repoAction completes a command about the repository PROJECT TARGET; its kind is a flag.
func repoAction(
	cmd *cobra.Command, args cobra.PositionalArgs, n needs,
	run func(cmd *cobra.Command, p *publisher.Publisher, place publisher.Place, rest []string) error,
) *cobra.Command {
	cmd.Args = args
	kind := cmd.Flags().String("kind", "", "debuginfo or source, in place of the packages themselves")
	return storageCommand(cmd, n, func(cmd *cobra.Command, p *publisher.Publisher, args []string) error {
		place := publisher.Place{Project: args[0], Target: args[1], Kind: publisher.Kind(*kind)}
		if k := place.Kind; k != publisher.Binary && k != publisher.Debug && k != publisher.Source {
			return hint.Add(fmt.Errorf("unknown kind of repository %q", *kind), "use debuginfo or source")
		}
		return run(cmd, p, place, args[2:])
	})
}

func storageCommand(
	cmd *cobra.Command, n needs, run func(*cobra.Command, *publisher.Publisher, []string) error,
) *cobra.Command {
	cmd.Flags().SortFlags = false
	cli.JSONFlag(cmd)
	cli.ConfigFlags(cmd, "", "s3", "publisher")
	if n != needsNothing {
		cli.KeyFlags(cmd, "nats.url", "nats.user", "nats.credentials", "nats.ca_file")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, _, stop := cli.Signals(cmd.Context())
		defer stop()
		cmd.SetContext(ctx)
		cfg, err := cli.Load(cmd, config.ForOperator)
		if err != nil {
			return err
		}
		running, err := runningConfig(cmd, cfg.DataDir, config.ForOperator)
		if err != nil {
			return err
		}
		if running != nil {
			cfg.S3, cfg.NATS, cfg.PublicURL = running.S3, running.NATS, running.PublicURL
			for _, project := range running.Projects { // that of --demo is in no file
				if _, ok := cfg.Project(project.Name); !ok {
					cfg.Projects = append(cfg.Projects, project)
				}
			}
		}
		if running == nil && cfg.S3.AccessKey == "" && cfg.S3.SecretKey == "" {
			return hint.Add(fmt.Errorf("the storage has no keys: no rpmflow up runs over data_dir %s", cfg.DataDir),
				"start rpmflow up, or set s3.access_key and s3.secret_key")
		}
		var noNATS error
		var away func(error)
		if n != needsNothing {
			away = func(err error) { noNATS = err }
		}
		p, closeAll, err := publisherd.Open(cfg, cfg.Log.Logger(cmd.ErrOrStderr()), away)
		if err != nil {
			return err
		}
		defer closeAll()
		if n == needsNATS && noNATS != nil {
			return noNATS
		}
		named := append(slices.Clone(args), "", "") // all of these commands begin with PROJECT TARGET
		if err := p.Known(ctx, named[0], named[1]); err != nil {
			return err
		}
		return run(cmd, p, args)
	}
	return cmd
}

// announceChange publishes an event about what a command has changed. Without one the next publication says it.
func announceChange(cmd *cobra.Command, p *publisher.Publisher, place publisher.Place) {
	if err := p.Announce(cmd.Context(), place); err != nil {
		remark(cmd.ErrOrStderr(), fmt.Sprintf("done, but no event says so before the next publication: %v",
			hint.Full(err)))
	}
}

// repoRow is a repository as programs and people are shown it.
type repoRow struct {
	Project   string     `json:"project"`
	Target    string     `json:"target"`
	Kind      string     `json:"kind"`
	Packages  int        `json:"packages"`
	Revision  int64      `json:"revision"`
	Shown     int64      `json:"shown"` // the revision that clients see
	Published *time.Time `json:"published,omitempty"`
	URL       string     `json:"url"`
	Error     string     `json:"error,omitempty"` // why nothing else is known of it
}

func rowOf(p *publisher.Publisher, place publisher.Place, s *repo.State) repoRow {
	published := s.Newest().Published
	return repoRow{
		Project: place.Project, Target: place.Target, Kind: string(place.Kind), Packages: len(s.Entries()),
		Revision: s.Revision, Shown: s.Shown().Number, Published: &published, URL: p.URL(place),
	}
}

func repoList() *cobra.Command {
	return storageCommand(&cobra.Command{
		Use: "list [PROJECT [TARGET]]", Short: "List the repositories", Args: cobra.MaximumNArgs(2),
		Example: "  rpmflow repo list hello",
	}, needsNothing, func(cmd *cobra.Command, p *publisher.Publisher, args []string) error {
		args = append(args, "", "")
		places, err := p.Places(cmd.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		rows := make([]repoRow, 0, len(places))
		var damaged error
		t := table{{"PROJECT", "TARGET", "KIND", "PACKAGES", "REVISION", "PUBLISHED", "URL"}}
		for _, place := range places {
			state, err := p.State(cmd.Context(), place)
			if err != nil { // the others are listed all the same
				damaged = errors.Join(damaged, hint.Full(err))
				rows = append(rows, repoRow{Project: place.Project, Target: place.Target, Kind: string(place.Kind),
					URL: p.URL(place), Error: hint.Full(err).Error()})
				t = append(t, []string{place.Project, place.Target, cmp.Or(string(place.Kind), "packages"), "-",
					"damaged", "-", p.URL(place)})
				continue
			}
			r := rowOf(p, place, state)
			rows = append(rows, r)
			revision := strconv.FormatInt(r.Revision, 10)
			if r.Shown != r.Revision {
				revision = fmt.Sprintf("%d (clients see %d)", r.Revision, r.Shown)
			}
			t = append(t, []string{r.Project, r.Target, cmp.Or(r.Kind, "packages"), strconv.Itoa(r.Packages), revision,
				since(*r.Published), r.URL})
		}
		return errors.Join(emit(cmd, rows, func(out io.Writer) error { return t.write(out, 6, 0) }), damaged)
	})
}

func repoShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show PROJECT TARGET", Short: "Show what a repository has, and how to use it",
		Example: "  rpmflow repo show hello fedora-43-x86_64",
	}
	return repoAction(cmd, cobra.ExactArgs(2), needsNothing, func(
		cmd *cobra.Command, p *publisher.Publisher, place publisher.Place, _ []string,
	) error {
		state, err := p.State(cmd.Context(), place)
		if err != nil {
			return err
		}
		type revision struct {
			Number    int64     `json:"number"`
			Published time.Time `json:"published"`
			Pinned    bool      `json:"pinned,omitempty"`
			URL       string    `json:"url"`
		}
		type pkg struct {
			NEVRA  string `json:"nevra"`
			Build  string `json:"build"`
			SHA256 string `json:"sha256"`
			Size   int64  `json:"size"`
		}
		shown := struct {
			repoRow
			Install   string     `json:"install"`
			Revisions []revision `json:"revisions"`
			Contents  []pkg      `json:"contents"`
		}{repoRow: rowOf(p, place, state), Install: "dnf config-manager --add-repo " + p.RepoFileURL(place)}
		for _, r := range state.Revisions {
			shown.Revisions = append(shown.Revisions,
				revision{r.Number, r.Published, r.Pinned, p.RevisionURL(place, r)})
		}
		for _, e := range state.Entries() {
			shown.Contents = append(shown.Contents, pkg{e.NEVRA.String(), e.Build, e.Checksum, e.Size})
		}
		return emit(cmd, shown, func(out io.Writer) error {
			fmt.Fprintf(out, "%s\n\n", shown.Install)
			t := table{{"REVISION", "PUBLISHED", "", "URL"}}
			for _, r := range shown.Revisions {
				var notes []string
				if r.Pinned {
					notes = append(notes, "pinned")
				}
				if r.Number == shown.Shown && shown.Shown != shown.Revision {
					notes = append(notes, "clients see it")
				}
				t = append(t, []string{
					strconv.FormatInt(r.Number, 10), since(r.Published), strings.Join(notes, ", "), r.URL,
				})
			}
			if err := t.write(out, 3); err != nil {
				return err
			}
			fmt.Fprintln(out)
			t = table{{"PACKAGE", "SIZE", "BUILD"}}
			for _, c := range shown.Contents {
				size := fmt.Sprintf("%.1f kB", float64(c.Size)/1e3)
				t = append(t, []string{c.NEVRA, size, c.Build[:min(len(c.Build), shortLength)]})
			}
			return t.write(out, 0)
		})
	})
}

func repoRollback() *cobra.Command {
	return repoRevision(&cobra.Command{
		Use: "rollback PROJECT TARGET REVISION", Short: "Make clients see an older revision",
		Long: `Clients see the revision until the next publication, or until rollback to 0, the newest. Remove the
packages that are not wanted, or the next publication has them again.`,
		Example: "  rpmflow repo rollback hello fedora-43-x86_64 17",
	}, (*publisher.Publisher).Rollback, nil)
}

func repoPin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "pin PROJECT TARGET REVISION", Short: "Keep a revision for ever",
		Example: "  rpmflow repo pin hello fedora-43-x86_64 17",
	}
	release := cmd.Flags().Bool("release", false, "keep it no longer than others")
	return repoRevision(cmd, func(
		p *publisher.Publisher, ctx context.Context, place publisher.Place, number int64,
	) (*repo.State, error) {
		return p.Pin(ctx, place, number, !*release)
	}, func(number int64) string {
		if *release {
			return fmt.Sprintf("revision %d is kept no longer than others", number)
		}
		return fmt.Sprintf("revision %d is kept for ever", number)
	})
}

// repoRevision completes a command that changes something about a revision. did says what, if clients do not see it.
func repoRevision(
	cmd *cobra.Command, change func(*publisher.Publisher, context.Context, publisher.Place, int64) (*repo.State, error),
	did func(number int64) string,
) *cobra.Command {
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { // -1 is not a flag for the one who types it
		return hint.Add(err, "REVISION is a number that rpmflow repo show lists")
	})
	return repoAction(cmd, cobra.ExactArgs(3), mayAnnounce, func(
		cmd *cobra.Command, p *publisher.Publisher, place publisher.Place, rest []string,
	) error {
		number, err := strconv.ParseInt(rest[0], 10, 64)
		if err != nil || number < 0 {
			return hint.Add(fmt.Errorf("%q is not the number of a revision", rest[0]), "rpmflow repo show lists them")
		}
		state, err := change(p, cmd.Context(), place, number)
		if err != nil {
			return err
		}
		announceChange(cmd, p, place)
		if did != nil && !cli.AsJSON(cmd) {
			fmt.Fprintln(cmd.OutOrStdout(), did(number))
		}
		return printRow(cmd, rowOf(p, place, state))
	})
}

func printRow(cmd *cobra.Command, r repoRow) error {
	return emit(cmd, r, func(out io.Writer) error {
		fmt.Fprintf(out, "clients see revision %d of %d: %s\n", r.Shown, r.Revision, r.URL)
		return nil
	})
}
