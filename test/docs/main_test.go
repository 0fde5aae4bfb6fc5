package docs_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// binaries is the directory for the programs that the documents' commands run.
var binaries string

func TestMain(m *testing.M) {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rpmflow-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binaries = dir
	return m.Run()
}
