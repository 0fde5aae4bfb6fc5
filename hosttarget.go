package rpmflow

import (
	"bufio"
	"bytes"
	"os"
	"strings"
)

// HostTarget is the target of this machine's own rpmbuild. Its name is host-<id>-<version>-<arch>, as os-release(5) names the system.
func HostTarget() Target {
	arch := HostArch()
	for _, file := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if release, err := os.ReadFile(file); err == nil {
			return Target{Name: hostName(release, arch), Arch: arch}
		}
	}
	return Target{Name: hostName(nil, arch), Arch: arch}
}

// hostName keeps to what a target's name may have; a system without a version, such as a rolling one, has none in it.
func hostName(release []byte, arch string) string {
	values := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(release)); lines.Scan(); {
		if key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "="); ok {
			values[key] = strings.Trim(value, `"'`)
		}
	}
	name := "host"
	for _, key := range []string{"ID", "VERSION_ID"} {
		if values[key] != "" {
			name += "-" + values[key]
		}
	}
	name += "-" + arch
	if CheckTargetName(name) != nil {
		return "host-" + arch
	}
	return name
}
