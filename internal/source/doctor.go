package source

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// CheckGit looks whether the command git runs.
func CheckGit(ctx context.Context, f *doctor.Findings) {
	ctx, cancel := context.WithTimeout(ctx, doctor.RequestLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "--version").Output()
	if err != nil {
		f.Error("git", doctor.Failed, hint.Add(
			fmt.Errorf("the command git does not run: %w", err), "install git where the builder runs"))
		return
	}
	f.OK("git", "%s", strings.TrimSpace(string(out)))
}
