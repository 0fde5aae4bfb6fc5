package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/local"
)

// exitCodes are those of the kinds of failures of a build or a spec. Other errors have 1.
func exitCodes() map[rpmflow.FailureKind]int {
	return map[rpmflow.FailureKind]int{
		rpmflow.FailureSource: 10, rpmflow.FailureSpec: 11, rpmflow.FailureDependencies: 12, rpmflow.FailureBuild: 13,
		rpmflow.FailureTimeout: 14, rpmflow.FailureCanceled: 15, rpmflow.FailureInfrastructure: 20,
	}
}

// exitSkipped is that of a spec that is not for the target.
const exitSkipped = 16

const exitHelp = `Exit codes: 0 success, 10 source, 11 spec, 12 dependencies, 13 the package's own build, 14 timeout,
15 canceled (Ctrl-C), 16 skipped, as the spec excludes the target's architecture, 20 infrastructure,
1 anything else, such as a wrong option.`

// coded is an error with the exit code of its kind.
type coded struct {
	error
	code int
}

func (c *coded) Unwrap() error { return c.error }

// ProgramExit is the program's.
func (c *coded) ProgramExit() int { return c.code }

// withCode gives an error the exit code of its failure.
func withCode(err error) error {
	var f *rpmflow.Failure
	if errors.As(err, &f) {
		return &coded{err, exitCodes()[f.Kind]}
	}
	return err
}

// buildFlags are those of one build here.
type buildFlags struct {
	localFlags
	resultDir        string
	srpmOnly, shell  bool
	noCheck, verbose bool
	asJSON           bool
	layout           string
	timeout          time.Duration
	addRepo          []string
	downloads        downloadFlags
	checksum         string
}

func (f *buildFlags) add(cmd *cobra.Command) {
	f.localFlags.add(cmd)
	f.downloads.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.checksum, "checksum", "", "checksum that the source package must have, as sha256:DIGEST")
	flags.StringVar(&f.resultDir, "resultdir", "rpmflow-results",
		"directory for packages, logs and the record of the build")
	flags.BoolVar(&f.noCheck, "nocheck", false, "skip %check")
	flags.BoolVar(&f.shell, "shell-on-failure", false,
		"open a shell in the build root of a failed build (needs a terminal)")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show the whole log while it is written")
	flags.BoolVar(&f.asJSON, "json", false, "print the build's record as JSON")
	flags.DurationVar(&f.timeout, "timeout", 24*time.Hour, "time limit of the build")
	flags.StringArrayVar(&f.addRepo, "addrepo", nil,
		"URL of a further repository to take BuildRequires from (may be repeated)")
}

func buildCommand() *cobra.Command {
	f := &buildFlags{}
	cmd := &cobra.Command{
		Use:   "build DIRECTORY|FILE.spec|FILE.src.rpm|URL.src.rpm|GIT-URL[#REF]",
		Short: "Build one package here, without a server", Args: cobra.ExactArgs(1),
		Long: `Build makes one package on this machine, with the code and the engines of a builder: in a clean root in
containers, or with the host's rpmbuild if there is no container engine and no target is named.

What may be built:
  a spec            as it is, with the sources next to it, or in SOURCES next to SPECS; links are followed
  a directory       as it is on disk. An archive of it has the files that git tracks or that are new and not
                    ignored, else the whole directory. Git's configuration and the results of earlier builds are
                    left out.
  a git URL         its default branch, or the branch, tag or commit after #
  a source package  it is rebuilt; from a URL it is downloaded first

Missing Sources and Patches are downloaded from their URLs, from public addresses only unless --allow-address
allows others. Files of dist-git's list come from --lookaside.

Packages, logs and the record (build.json) are written to the directory of --resultdir. The packages' paths are
printed.

` + exitHelp,
		Example: "  rpmflow build . -r fedora-43-x86_64\n  rpmflow build hello.spec --engine rpmbuild --srpm-only\n" +
			"  rpmflow build https://git.example.com/hello.git#v1.0 -r centos-stream-10-x86_64",
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.srpmOnly, "srpm-only", false, "make the source package only")
	cmd.Flags().StringVar(&f.layout, "layout", string(rpmflow.LayoutAuto),
		"layout of the directory or repository: "+strings.Join(rpmflow.LayoutNames(), ", "))
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], local.ParseInput) }
	return cmd
}

func rebuildCommand() *cobra.Command {
	f := &buildFlags{}
	cmd := &cobra.Command{
		Use: "rebuild FILE.src.rpm|URL", Short: "Build a source package here, without a server",
		Args: cobra.ExactArgs(1),
		Long: "Rebuild builds a source package, a file or a URL, as `rpmflow build` does.\n\n" + exitHelp,
		Example: "  rpmflow rebuild hello-1.0-1.src.rpm -r fedora-43-x86_64\n" +
			"  rpmflow rebuild https://example.com/hello-1.0-1.src.rpm --checksum " +
			"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
	}
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], local.ParseSRPM) }
	return cmd
}

func (f *buildFlags) options() (rpmflow.Options, error) {
	o, err := f.localFlags.options()
	if err != nil {
		return o, err
	}
	o.NoCheck = f.noCheck
	var errs []error
	for _, text := range f.addRepo {
		r, err := rpmflow.ParseRepo(text)
		errs = append(errs, err)
		r.Trusted = true // the build runs on the user's own machine
		o.Repositories = append(o.Repositories, r)
	}
	return o, errors.Join(errs...)
}

// sum is the source package's checksum, if there is one.
func (f *buildFlags) sum(input local.Input) ([]checksum.Checksum, error) {
	if f.checksum == "" {
		return nil, nil
	}
	if !input.IsSRPM() {
		return nil, hint.Add(errors.New("--checksum is for source packages only"), "leave it out")
	}
	algorithm, digest, _ := strings.Cut(f.checksum, ":")
	sum, err := checksum.New(algorithm, digest)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("--checksum: %w", err), "write sha256:DIGEST")
	}
	return []checksum.Checksum{sum}, nil
}

func (f *buildFlags) run(cmd *cobra.Command, arg string, parse func(string) (local.Input, error)) error {
	input, err := parse(arg)
	if err != nil {
		return err
	}
	sum, err := f.sum(input)
	if err != nil {
		return err
	}
	if err := f.downloads.check(); err != nil {
		return err
	}
	options, err := f.options()
	if err != nil {
		return err
	}
	stderr := cmd.ErrOrStderr()
	if f.shell && !(terminal(os.Stdin) && terminal(cmd.OutOrStdout()) && terminal(stderr)) {
		remark(stderr, "standard input, output and error are not a terminal: no shell is started if the build fails")
		f.shell = false
	}
	return f.withSetup(cmd, func(_ context.Context, h localSetup) error {
		remark(stderr, h.Remarks...)
		results, err := local.OpenResults(f.resultDir)
		if err != nil {
			return err
		}
		cancel, hard, stop := cli.Signals(cmd.Context())
		defer stop()
		wanted, end := context.WithCancelCause(context.Background())
		defer end(nil)
		defer context.AfterFunc(cancel, func() {
			end(rpmflow.Fail(rpmflow.FailureCanceled, "start it again", "interrupted"))
		})()
		m := newMeter(stderr, f.verbose)
		b, err := local.Build(hard, wanted, h.Place, h.work, local.Request{
			Input: input, Engine: h.Engine, Target: h.Target, Options: options.Over(h.options),
			Layout: rpmflow.Layout(f.layout), Timeout: f.timeout, MaxOutput: int64(h.cfg.Builder.MaxOutput),
			SRPMOnly: f.srpmOnly, Results: results, Log: m, Report: m.report, Explore: f.shell,
			Downloads: f.downloads.downloads(h.cfg), Checksum: sum, Pause: m.pause, Logger: h.log,
		})
		m.end(b.Phases)
		if err != nil {
			return withCode(explained(hard, stderr, err, &tail{}))
		}
		return f.show(cmd.OutOrStdout(), stderr, results, b)
	})
}

// show prints the result of the build: data to out, remarks to w.
func (f *buildFlags) show(out, w io.Writer, results *local.Results, b rpmflow.Build) error {
	if f.asJSON {
		if err := printJSON(out, b); err != nil {
			return err
		}
	}
	for _, n := range b.Notes {
		remark(w, n)
	}
	if b.Outcome.Result == rpmflow.Succeeded {
		for _, a := range b.Artifacts {
			if !f.asJSON && a.Kind != rpmflow.KindLog {
				fmt.Fprintln(out, fromHere(a.URL))
			}
		}
		return nil
	}
	o := b.Outcome
	for _, line := range o.Excerpt {
		fmt.Fprintln(w, "  "+printable(line))
	}
	if o.Result == rpmflow.Skipped {
		return &coded{hint.Add(fmt.Errorf("%s is skipped: %s", b.Project, o.Message), o.Hint), exitSkipped}
	}
	err := fmt.Errorf("%s failed in phase %s: %s: %s", b.Project, o.Phase, o.Kind, o.Message)
	switch {
	case o.Kind == rpmflow.FailureInfrastructure:
		err = hint.Add(err, "the package is not the cause: fix what is named above, and try again")
	case o.Hint != "":
		err = hint.Add(err, o.Hint)
	}
	remark(w, "the logs are in "+fromHere(results.Dir()))
	return &coded{err, exitCodes()[o.Kind]}
}
