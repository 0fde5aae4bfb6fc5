package rpmfile_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// Every pair is compared with rpm itself.
func TestVercmpIsRPMs(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skipf("needs rpm: how versions sort goes untested; install rpm: %v", err)
	}
	all := []string{"0", "1", "01", "1.0", "1..0", "1_0", "1.0.", "1.0a", "1.0.a", "1.0a1", "1.0b", "1.0rc1", "1.0~rc1",
		"1.0~rc1~2", "1.0^", "1.0^git1", "1.0^git1~rc", "1.0~rc1^git1", "1.0^git2", "1.0.1", "1.10", "1.9", "a", "A",
		"a1", "2a", "~", "^", "~~", "^^", "~^", "^~", "20260101", "99999999999999999999999", "1.0+a"}
	var script strings.Builder
	var want []string
	for _, a := range all {
		for _, b := range all {
			fmt.Fprintf(&script, "print(rpm.vercmp(%q, %q)..' ')", a, b)
			want = append(want, fmt.Sprint(rpmfile.Vercmp(a, b)))
		}
	}
	out, err := exec.CommandContext(t.Context(), "rpm", "--eval", "%{lua:"+script.String()+"}").Output()
	testkit.Must(t, err)
	got := strings.Fields(string(out))
	if len(got) != len(want) {
		t.Fatalf("rpm gives %d answers for %d pairs", len(got), len(want))
	}
	for i, a := range all {
		for j, b := range all {
			if k := i*len(all) + j; got[k] != want[k] {
				t.Errorf("%q and %q: %s, and rpm says %s", a, b, want[k], got[k])
			}
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	n := func(epoch int, version, release string) rpmfile.NEVRA {
		return rpmfile.NEVRA{Name: "x", Epoch: epoch, Version: version, Release: release}
	}
	if n(1, "1", "1").Compare(n(0, "2", "2")) <= 0 || n(0, "2", "1").Compare(n(0, "1", "2")) <= 0 ||
		n(0, "1", "1").Compare(n(0, "1", "1.1")) >= 0 || n(0, "1", "1").Compare(n(0, "1", "1")) != 0 {
		t.Error("epoch, version and release are not compared in this order")
	}
}
