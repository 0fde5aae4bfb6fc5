package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/hook"
)

func hookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hook", Short: "Announce the pushes of a git repository on this machine",
		Long: `Hook announces every push to a repository on your own server to a listener. Its answer is shown by git push.`,
	}
	cmd.AddCommand(hookInstallCommand(), hookFlushCommand(), postReceiveCommand())
	return cmd
}

func hookInstallCommand() *cobra.Command {
	var to, secretFile string
	cmd := &cobra.Command{
		Use: "install REPOSITORY", Short: "Announce a repository's pushes", Args: cobra.ExactArgs(1),
		Long: `Install writes hooks/post-receive of a repository, bare or not, which calls this program, and sets rpmflow.url and rpmflow.secretFile in the
repository's git configuration. A hook that is there already is not overwritten: the error says how to call this program from it. Run it again
after the program has moved. A project with two repositories has ?repository=source or ?repository=packaging at the end of the URL.`,
		Example: "  rpmflow hook install /srv/git/hello.git --url http://127.0.0.1:8080/hooks/generic/hello --secret-file " +
			"hello.secret",
	}
	cmd.Flags().StringVar(&to, "url", "",
		"where the listener takes the project's pushes: http://HOST/hooks/generic/PROJECT")
	cmd.Flags().StringVar(&secretFile, "secret-file", "",
		"file with the project's webhook secret, readable by who pushes and by nobody else")
	for _, name := range []string{"url", "secret-file"} {
		_ = cmd.MarkFlagRequired(name) // it fails for a flag that is not there only
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("this program's own path: %w", err)
		}
		if program, err = filepath.Abs(program); err != nil {
			return fmt.Errorf("this program's own path: %w", err)
		}
		return hook.Install(cmd.Context(), args[0], program, to, secretFile, cmd.OutOrStdout())
	}
	return cmd
}

func hookFlushCommand() *cobra.Command {
	var rejected bool
	cmd := &cobra.Command{
		Use: "flush [REPOSITORY]", Short: "Deliver what waits because the listener was away", Args: cobra.MaximumNArgs(1),
		Long: `Flush delivers, oldest first, the pushes to a repository (left out: that of this directory) that could not be announced when they came. Every push
does that, too. The exit code is 0 when nothing waits any more.`,
		Example: "  rpmflow hook flush /srv/git/hello.git",
	}
	cmd.Flags().BoolVar(&rejected, "rejected", false, "also what the listener has refused before")
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
			// Who has pushed may go away meanwhile: what was pushed is announced all the same.
			signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
			return hook.PostReceive(cmd.Context(), ".", cmd.InOrStdin(), cmd.ErrOrStderr())
		},
	}
}
