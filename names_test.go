package rpmflow

import "testing"

func TestHostTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ id, version, want string }{
		{"fedora", "43", "host-fedora-43-"}, {"arch", "", "host-arch-"}, {"o d/d", "1", "host-"}, {"", "", "host-"},
	} {
		if got := HostTarget(c.id, c.version); got.Name != c.want+HostArch() || got.Arch != HostArch() ||
			!got.OnHost() {
			t.Errorf("%q %q: %+v, want %s", c.id, c.version, got, c.want)
		}
	}
	for name, want := range map[string]bool{
		"host": true, "host-fedora-43-x86_64": true, "hostile-1-x86_64": false, "fedora-43-x86_64": false, "": false,
	} {
		if (Target{Name: name}).OnHost() != want {
			t.Errorf("%q is not %v", name, want)
		}
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	b := Build{}
	w := func(builder, reason string) bool { return b.Waits(Waiting{Builder: builder, Reason: reason}) }
	if !w("a", "x") || w("a", "x") || !w("b", "y") || w("a", "x") || w("b", "y") || !w("a", "z") ||
		len(b.Waiting) != 2 {
		t.Errorf("%+v", b.Waiting)
	}
	for _, builder := range []string{"c", "d", "e"} {
		w(builder, "x")
	}
	if w("f", "x") || len(b.Waiting) != mostWaiting { // of many builders only some have an entry
		t.Errorf("%+v", b.Waiting)
	}
}
