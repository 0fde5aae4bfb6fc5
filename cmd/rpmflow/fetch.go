package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/local"
	"github.com/rpmflow/rpmflow/internal/lookaside"
	"github.com/rpmflow/rpmflow/internal/netrule"
)

// downloadFlags are those of commands that download sources.
type downloadFlags struct {
	allow     []string
	lookaside string
}

func (f *downloadFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.allow, "allow-address", nil,
		"host, address or range to download from although it is not public (may be repeated)")
	flags.StringVar(&f.lookaside, "lookaside", "",
		"where the files of dist-git's lists are: a distribution such as fedora, or a template of URLs")
}

// check fails for wrong flags before anything is done.
func (f *downloadFlags) check() error {
	for _, rule := range f.allow {
		if err := netrule.Check(rule); err != nil {
			return fmt.Errorf("--allow-address: %w", err)
		}
	}
	if f.lookaside != "" {
		if err := lookaside.Check(f.lookaside); err != nil {
			return fmt.Errorf("--lookaside: %w", err)
		}
	}
	return nil
}

func (f *downloadFlags) downloads(cfg *config.Config) local.Downloads {
	return local.Downloads{
		Allow:   slices.Concat(cfg.Builder.AllowAddresses, f.allow),
		MaxFile: int64(cfg.Builder.MaxSource), Lookaside: f.lookaside,
	}
}

func fetchCommand() *cobra.Command {
	var flags localFlags
	var downloads downloadFlags
	var dir string
	cmd := &cobra.Command{
		Use: "fetch FILE.spec", Short: "Download missing sources, and check those that are there",
		Args: cobra.ExactArgs(1),
		Long: `Fetch downloads missing files that the spec's Source and Patch lines name by a URL, as a builder does: a
broken transfer is continued, and only public addresses are used unless --allow-address names others. If dist-git's list
of sources (sources, .PACKAGE.metadata) is next to the spec, all files must have the checksums in it. With --lookaside
its files come from there, else from the spec's URLs.

It prints a line for each file.

` + exitHelp,
		Example: "  rpmflow spec fetch hello.spec --engine rpmbuild\n" +
			"  rpmflow spec fetch hello.spec -r fedora-43-x86_64 -C sources --lookaside fedora",
	}
	flags.add(cmd)
	downloads.add(cmd)
	cmd.Flags().StringVarP(&dir, "directory", "C", "",
		"directory for the sources; empty: next to the spec, or in SOURCES next to SPECS")
	cli.JSONFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := downloads.check(); err != nil {
			return err
		}
		return flags.withSpec(cmd, args[0], func(ctx context.Context, h localSetup, s *local.Spec) error {
			obtained, err := s.Fetch(ctx, downloads.downloads(h.cfg), dir, h.log)
			if cli.AsJSON(cmd) && (err == nil || len(obtained) > 0) {
				return errors.Join(err, printJSON(cmd.OutOrStdout(), obtained))
			}
			for _, o := range obtained {
				fmt.Fprintln(cmd.OutOrStdout(), printable(o.String()))
			}
			return err
		})
	}
	return cmd
}
