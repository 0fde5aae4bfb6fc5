package rpmflow

import (
	"strings"
	"testing"
)

func TestHostName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ release, want string }{
		{"ID=fedora\nVERSION_ID=43\n", "host-fedora-43-x86_64"},
		{"ID=\"almalinux\"\nVERSION_ID='9.6'\nID_LIKE=rhel\n", "host-almalinux-9.6-x86_64"},
		{"PRETTY_NAME=x\nID=arch\n", "host-arch-x86_64"},
		{"ID=opensuse-leap\nVERSION_ID=\"15.6\"\n", "host-opensuse-leap-15.6-x86_64"},
		{"ID=\"o d/d\"\nVERSION_ID=1\n", "host-x86_64"},
		{"", "host-x86_64"},
	} {
		if got := hostName([]byte(c.release), "x86_64"); got != c.want {
			t.Errorf("%q: %s, want %s", c.release, got, c.want)
		}
	}
	if target := HostTarget(); !target.OnHost() || target.Arch != HostArch() || !strings.HasSuffix(target.Name, "-"+HostArch()) {
		t.Errorf("%+v", target)
	}
	for name, want := range map[string]bool{"host": true, "host-fedora-43-x86_64": true, "hostile-1-x86_64": false, "fedora-43-x86_64": false, "": false} {
		if (Target{Name: name}).OnHost() != want {
			t.Errorf("%q is not %v", name, want)
		}
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	b := Build{}
	w := func(builder, reason string) bool { return b.Waits(Waiting{Builder: builder, Reason: reason}) }
	if !w("a", "x") || w("a", "x") || !w("b", "y") || w("a", "x") || w("b", "y") || !w("a", "z") || len(b.Waiting) != 2 {
		t.Errorf("%+v", b.Waiting)
	}
	for _, builder := range []string{"c", "d", "e"} {
		w(builder, "x")
	}
	if w("f", "x") || len(b.Waiting) != mostWaiting { // of many builders only some have an entry
		t.Errorf("%+v", b.Waiting)
	}
}
