package printable

import "testing"

func TestName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"a b/ü": "a b/ü", "a\nb": `"a\nb"`, "\xff": `"\xff"`,
		"\x1b[2J": `"\x1b[2J"`} {
		if got := Name(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}
