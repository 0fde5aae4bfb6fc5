package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/publisherd"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Print a template of the configuration, or check one",
		Long: "One configuration file serves all programs. A value comes from the file, " +
			"else from the environment (RPMFLOW_…), else from a flag: the later ones win.",
	}
	var effective bool
	dump := &cobra.Command{
		Use: "dump", Short: "Print an annotated template with every key, its default and its environment variable",
		Args:    cobra.NoArgs,
		Example: "  rpmflow config dump > rpmflow.yaml\n  rpmflow config dump --effective",
	}
	cli.ConfigFlags(dump)
	dump.Flags().BoolVar(&effective, "effective", false, "print the values in effect instead, without secrets")
	dump.RunE = func(cmd *cobra.Command, _ []string) error {
		if !effective {
			return config.WriteTemplate(cmd.OutOrStdout())
		}
		cfg, err := cli.Load(cmd, config.ForOperator)
		if err != nil {
			return err
		}
		return config.WriteEffective(cmd.OutOrStdout(), cfg)
	}
	check := &cobra.Command{
		Use: "check", Short: "Check the configuration and name everything that is wrong with it", Args: cobra.NoArgs,
		Example: "  rpmflow config check --config /etc/rpmflow/rpmflow.yaml",
	}
	cli.ConfigFlags(check)
	check.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := cli.Load(cmd, config.ForOperator)
		if err != nil {
			return err
		}
		if err := errors.Join(cfg.CheckBuilder(), publisherd.CheckKey(cfg)); err != nil {
			return err
		}
		for _, w := range cfg.Warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+w)
		}
		file := cfg.File
		if file == "" {
			file = "no file, defaults and environment only"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d projects, %d targets: fine\n", file, len(cfg.Projects), len(cfg.Targets))
		return nil
	}
	cmd.AddCommand(dump, check, configS3Command(), configNATSCommand())
	return cmd
}
