package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/cli"
)

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print what this program was built from", Args: cobra.NoArgs,
		Long: "Version prints the version of this program, the commit that it was built from if that is known, " +
			"and the version of Go. The version of a server is in its /healthz.",
	}
	cli.JSONFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		version, commit, modified := cli.Build()
		data := struct {
			Version  string `json:"version"`
			Commit   string `json:"commit,omitempty"`
			Modified bool   `json:"modified"` // there were changes that are not committed
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{version, commit, modified, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		return emit(cmd, data, func(out io.Writer) error {
			commit = cmp.Or(commit, "unknown")
			if modified {
				commit += " with changes"
			}
			_, err := fmt.Fprintf(out, "rpmflow %s\ncommit %s\n%s %s\n", version, commit, data.Go, data.Platform)
			return err
		})
	}
	return cmd
}
