// Package osrelease says which system a program runs on, as os-release(5) has it.
//
// Nothing comes in; id and version of the system go out. It imports nothing of ours, and every package may import it.
package osrelease

import (
	"bufio"
	"bytes"
	"os"
	"strings"
)

// Read returns id and version of this system, such as fedora and 43. They are empty if they are not known; a rolling
// distribution has no version.
func Read() (id, version string) {
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if text, err := os.ReadFile(file); err == nil {
			return parse(text)
		}
	}
	return "", ""
}

func parse(text []byte) (id, version string) {
	values := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "="); ok {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	return values["ID"], values["VERSION_ID"]
}
