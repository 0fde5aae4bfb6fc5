package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/assembly"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
)

// healthCommand asks the running program beside it whether it is ready. It reads the configuration without any secret.
func healthCommand(program config.Program, sections []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "health", Short: "Say whether the " + string(program) + " that runs here is ready", Args: cobra.NoArgs,
		Long: fmt.Sprintf(`Health is for container health checks: it asks the %s that runs with the same configuration on this machine (GET /readyz), is
quiet and exits with 0 when it is ready, else it says why and exits with 1. It needs no secrets.`, program),
	}
	ConfigFlags(cmd, sections...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(cmd, config.ForHealth)
		if err != nil {
			return err
		}
		address := cfg.Listener.Listen
		if program == config.ForBuilder {
			if address = cfg.Builder.StatusListen; address == "" {
				return rpmflow.Advise(errors.New("builder.status_listen is empty, so the builder cannot be asked"), "set it, such as 127.0.0.1:8081")
			}
		}
		return assembly.Ask(cmd.Context(), program, config.LocalURL(address).String())
	}
	return cmd
}

func doctorCommand(program config.Program, sections []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check everything that the " + string(program) + " needs, and say what to do about what is missing", Args: cobra.NoArgs,
	}
	ConfigFlags(cmd, sections...)
	DoctorFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return Doctor(cmd, program, func() (*config.Config, error) { return load(cmd, program) })
	}
	return cmd
}

// DoctorFlags gives a command the flags of Doctor.
func DoctorFlags(cmd *cobra.Command) { cmd.Flags().Bool("json", false, "print JSON") }

// Doctor prints the report about a program, or with an empty one about all. Its error makes the exit code 1 when something failed.
func Doctor(cmd *cobra.Command, program config.Program, load func() (*config.Config, error)) error {
	report := doctor.Examine(cmd.Context(), program, load)
	write := report.WriteText
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		write = report.WriteJSON
	}
	if err := write(cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if !report.OK {
		return errors.New("not everything is well: see above")
	}
	return nil
}
