// Command rpmflow is the command line: it runs everything on one machine, submits builds and shows what became of them.
package main

import (
	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

func main() {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	cli.Main(command())
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "rpmflow",
		Short: "Git push in; RPMs, logs and a build-finished event out",
		Long: `rpmflow builds RPM packages from git pushes in clean build roots, stores packages and logs in S3, and
announces every outcome.

  rpmflow up                         run everything on this machine
  rpmflow submit hello               build a project's newest commit
  rpmflow submit --srpm FILE         build a source package
  rpmflow list                       the builds, newest first
  rpmflow logs -f BUILD              watch a build
  rpmflow cancel BUILD               stop a build
  rpmflow retry BUILD                build the same commit again
  rpmflow watch                      every outcome as it comes
  rpmflow projects, rpmflow targets  what the server builds, and for what

  rpmflow build .                    build a package here, without a server
  rpmflow spec sources hello.spec    ask rpm about a spec

The commands find a server that ` + "`rpmflow up`" + ` runs in this directory. Otherwise name the configuration with
--config or RPMFLOW_CONFIG, or the server with --server or RPMFLOW_SERVER.`,
		SilenceUsage: true, SilenceErrors: true, Version: cli.Version(),
	}
	cli.WrapHelp(root)
	root.AddCommand(upCommand(), submitCommand(), listCommand(), showCommand(), logsCommand(), cancelCommand(),
		repoCommand(),
		retryCommand(), watchCommand(), healthCommand(), doctorCommand(), projectsCommand(), targetsCommand(),
		versionCommand(), imagesCommand(), configCommand(), s3Command(), buildCommand(), rebuildCommand(),
		specCommand(), hookCommand())
	return root
}
