package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/hook"
)

func hookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hook", Short: "Announce the pushes of a git repository on this machine",
		Long: `Hook announces every push to a repository on your own server to a listener. git push shows the answer.`,
	}
	cmd.AddCommand(hookInstallCommand(), hookFlushCommand(), postReceiveCommand())
	return cmd
}

func hookInstallCommand() *cobra.Command {
	var to, secretFile string
	cmd := &cobra.Command{
		Use: "install REPOSITORY", Short: "Announce a repository's pushes", Args: cobra.ExactArgs(1),
		Long: `Install writes hooks/post-receive of a repository, bare or not, which calls this program. It sets
rpmflow.url and rpmflow.secretFile in the repository's git configuration. An existing hook is not overwritten:
the error says how to call this program from it. Run install again after the program has moved. For a project
with two repositories, add ?repository=source or ?repository=packaging to the URL.`,
		Example: "  rpmflow hook install /srv/git/hello.git --url http://127.0.0.1:8080/hooks/generic/hello " +
			"--secret-file hello.secret",
	}
	cmd.Flags().StringVar(&to, "url", "", "URL for the project's pushes: http://HOST/hooks/generic/PROJECT")
	cmd.Flags().StringVar(&secretFile, "secret-file", "",
		"file with the project's webhook secret, readable only by those who push")
	for _, name := range []string{"url", "secret-file"} {
		_ = cmd.MarkFlagRequired(name) // it fails only for a flag that does not exist
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("this program's own path: %w", err)
		}
		return hook.Install(cmd.Context(), args[0], program, to, secretFile, cmd.OutOrStdout())
	}
	return cmd
}

func hookFlushCommand() *cobra.Command {
	var rejected bool
	cmd := &cobra.Command{
		Use: "flush [REPOSITORY]", Short: "Deliver pushes that the listener has not received yet",
		Args: cobra.MaximumNArgs(1),
		Long: `Flush delivers the pushes to a repository that could not be announced when they came, oldest first.
Without an argument it is the repository of this directory. Every push does this as well. The exit code is 0
if nothing waits any more.`,
		Example: "  rpmflow hook flush /srv/git/hello.git",
	}
	cmd.Flags().BoolVar(&rejected, "rejected", false, "also deliver what the listener has refused before")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := hook.Open(cmd.Context(), append(args, ".")[0])
		if err != nil {
			return err
		}
		return r.Flush(cmd.Context(), rejected, cmd.OutOrStdout())
	}
	return cmd
}

func postReceiveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "post-receive", Short: "What git runs as the hook post-receive", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The client may disconnect meanwhile. What was pushed is announced all the same.
			signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
			return hook.PostReceive(cmd.Context(), ".", cmd.InOrStdin(), cmd.ErrOrStderr())
		},
	}
}
