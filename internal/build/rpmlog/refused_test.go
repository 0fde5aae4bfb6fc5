package rpmlog_test

import (
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/build/rpmlog"
)

// TestRefused has rpm's own messages, which can come in any phase, and what only looks like them.
func TestRefused(t *testing.T) {
	t.Parallel()
	fail := func(message string, excerpt ...string) *rpmflow.Failure {
		return &rpmflow.Failure{Kind: rpmflow.FailureSpec, Message: message, Excerpt: excerpt}
	}
	for _, c := range []struct {
		f   *rpmflow.Failure
		tag string
	}{
		{fail("error: Architecture is not included: x86_64"), "ExclusiveArch"},
		{fail("error: Architecture is excluded: x86_64"), "ExcludeArch"},
		{fail("error: OS is excluded: linux"), "ExcludeOS"},
		{fail("RPM build errors:", "Building target platforms: x86_64", "error: OS is not included: linux"),
			"ExclusiveOS"},
		{fail("error: line 3: Unknown tag"), ""},
		{fail("Bad exit status", "Executing(%build): /bin/sh -e /var/tmp/x",
			"error: Architecture is not included: x86_64"),
			""},
		{fail("error: Architecture is not included: x86_64 and more"), ""},
	} {
		if tag := rpmlog.Refused(c.f); tag != c.tag {
			t.Errorf("%s: %q, want %q", c.f.Message, tag, c.tag)
		}
	}
}
