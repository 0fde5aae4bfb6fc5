package osrelease

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"ID=fedora\nVERSION_ID=43\n":                           {"fedora", "43"},
		"ID=\"almalinux\"\nVERSION_ID='9.6'\nID_LIKE=rhel\n":   {"almalinux", "9.6"},
		"PRETTY_NAME=x\nID=arch\n":                             {"arch", ""},
		" ID=opensuse-leap \n# ID=x\n\nVERSION_ID=\"15.6\"\n=": {"opensuse-leap", "15.6"},
		"": {},
	} {
		if id, version := parse([]byte(text)); id != want[0] || version != want[1] {
			t.Errorf("%q: %q %q", text, id, version)
		}
	}
	Read() // must not fail, wherever the test runs
}
