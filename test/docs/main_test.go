package docs_test

import (
	"os"
	"testing"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

func TestMain(m *testing.M) {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	os.Exit(m.Run())
}
