// Package e2e_test drives the whole system as its users do: a git push goes in; an RPM, a log and a finished event come
// out. NATS, S3, git, Docker and rpm are the real ones; mock is the stand-in image, or real mock when MOCK_IMAGE,
// MOCK_CONFIGDIR and MOCK_TARGET say so.
package e2e_test

import (
	"os"
	"testing"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
	"github.com/rpmflow/rpmflow/test/system"
)

func TestMain(m *testing.M) {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	os.Exit(m.Run())
}

func program(t *testing.T, name string) string {
	t.Helper()
	return system.Program(t, name)
}
