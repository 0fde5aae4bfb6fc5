package mock

import (
	"errors"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/mock/docker"
)

func TestOverDisk(t *testing.T) {
	t.Parallel()
	err := &docker.DiskLimitError{Limit: 64 << 30}
	var f *rpmflow.Failure
	if !errors.As(overDisk(err, rpmflow.PhaseRPMs), &f) || f.Kind != rpmflow.FailureBuild ||
		f.Message != "the build filled the disk: more than 64 GiB" {
		t.Errorf("%+v", f)
	}
	if f = nil; errors.As(overDisk(err, rpmflow.PhaseRoot), &f) {
		t.Errorf("the root is not the packager's: %v", f)
	}
}
