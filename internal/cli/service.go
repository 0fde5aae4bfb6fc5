package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/ready"
)

// Service is a program that runs until it is stopped.
type Service struct {
	Program     config.Program // whose secrets it gets
	Short, Long string
	Sections    []string // of the configuration, for its flags
	// Run runs the program until ctx ends; hard ends with the second signal.
	Run func(ctx, hard context.Context, cfg *config.Config, log *slog.Logger) error
	// Address is where the program on this machine answers GET /readyz, for the command health; nil: there is no such
	// command.
	Address func(cfg *config.Config) (string, error)
	// Checks are what the program needs, for the command doctor; nil: there is no such command.
	Checks func(cfg *config.Config) []doctor.Check
}

// Command makes the program's command, with health and doctor below it.
func (s Service) Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: string(s.Program), Short: s.Short, Long: s.Long, Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true, Version: Version(),
	}
	WrapHelp(cmd)
	ConfigFlags(cmd, s.Sections...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := Load(cmd, s.Program)
		if err != nil {
			return err
		}
		log := cfg.Log.Logger(cmd.ErrOrStderr())
		for _, w := range cfg.Warnings {
			log.Warn(w)
		}
		soft, hard, stop := Signals(cmd.Context())
		defer stop()
		return s.Run(soft, hard, cfg, log)
	}
	cmd.CompletionOptions.DisableDefaultCmd = true // a program for service managers
	if s.Address != nil {
		cmd.AddCommand(s.health())
	}
	if s.Checks != nil {
		cmd.AddCommand(s.doctor())
	}
	return cmd
}

// health asks the running program. It reads the configuration without any secret.
func (s Service) health() *cobra.Command {
	cmd := &cobra.Command{
		Use: "health", Short: fmt.Sprintf("Check whether the %s that runs here is ready", s.Program),
		Args: cobra.NoArgs,
		Long: fmt.Sprintf(`Health is for container health checks. It asks the %s that runs with the same configuration
on this machine (GET /readyz). It is quiet and exits with 0 if that is ready; else it prints why and exits with 1. It
needs no secrets.`, s.Program),
	}
	ConfigFlags(cmd, s.Sections...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := Load(cmd, config.NoSecrets)
		if err != nil {
			return err
		}
		address, err := s.Address(cfg)
		if err != nil {
			return err
		}
		return ready.Ask(cmd.Context(), string(s.Program), config.LocalURL(address).String())
	}
	return cmd
}

func (s Service) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Args: cobra.NoArgs,
		Short: fmt.Sprintf("Check everything that the %s needs, and print what to do about what is missing", s.Program),
	}
	ConfigFlags(cmd, s.Sections...)
	JSONFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return Doctor(cmd, string(s.Program), func() ([]doctor.Check, error) {
			cfg, err := Load(cmd, s.Program)
			if err != nil {
				return nil, err
			}
			return s.Checks(cfg), nil
		})
	}
	return cmd
}

// Doctor prints what the checks of a program, or of the whole system if that is empty, find. Its error makes the
// exit code 1 when something has failed.
func Doctor(cmd *cobra.Command, program string, load func() ([]doctor.Check, error)) error {
	report := doctor.Examine(cmd.Context(), program, load)
	write := report.WriteText
	if AsJSON(cmd) {
		write = report.WriteJSON
	}
	if err := write(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if !report.OK {
		return errors.New("something has failed: see above")
	}
	return nil
}
