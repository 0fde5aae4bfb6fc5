package rpmflow

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"

	"github.com/google/uuid"
)

// namespace is the root of every id that is derived from content; changing it would make new ids of old deliveries.
var namespace = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("rpmflow.dev"))

var (
	// Lengths are checked apart: a counted repetition costs every program milliseconds at its start.
	projectName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)
	hexadecimal = regexp.MustCompile(`^[0-9a-f]*$`)
)

func isName(name string) bool { return len(name) <= 128 && projectName.MatchString(name) }

// ErrName is wrapped by every refusal of a malformed name.
var ErrName = errors.New("malformed name")

// CheckProjectName reports whether a project may have this name: it becomes part of subjects, S3 keys and URLs.
func CheckProjectName(name string) error {
	return checkName("project", name, "1 to 128 letters, digits and . _ + -, beginning with a letter or digit")
}

// CheckTargetName reports whether a target may have this name, by the same rule as for projects.
func CheckTargetName(name string) error {
	return checkName("target", name, "mock's own names, for example fedora-42-x86_64")
}

// CheckPackageName reports whether a package may have this name, by the same rule as for projects.
func CheckPackageName(name string) error {
	return checkName("package", name, "1 to 128 letters, digits and . _ + -, beginning with a letter or digit")
}

func checkName(what, name, use string) error {
	if !isName(name) {
		return fmt.Errorf("%s name %q: %w: use %s", what, name, ErrName, use)
	}
	return nil
}

// IsCommit reports whether s is a full git object name (SHA-1 or SHA-256, lower case).
func IsCommit(s string) bool { return (len(s) == 40 || len(s) == 64) && hexadecimal.MatchString(s) }

// IsZeroCommit reports whether s is the all-zero name with which git announces the creation or deletion of a ref.
func IsZeroCommit(s string) bool { return IsCommit(s) && strings.Trim(s, "0") == "" }

// PushID derives the id of a push from its delivery: the forge's delivery id, or ref and both commits if it has
// none. The same delivery has the same id on every replica, for ever.
func PushID(project, delivery string) string {
	return uuid.NewSHA1(namespace, []byte("push\x00"+project+"\x00"+delivery)).String()
}

// BuildID derives the id of one build from the push that asked for it.
func BuildID(push, pkg, target string) string {
	return uuid.NewSHA1(namespace, []byte("build\x00"+push+"\x00"+pkg+"\x00"+target)).String()
}

// DeriveID makes a deterministic id of the given parts, for events.
func DeriveID(parts ...string) string {
	return uuid.NewSHA1(namespace, []byte(strings.Join(parts, "\x00"))).String()
}

// IsID reports whether s has the form of a push or build id (a UUID in its canonical spelling).
func IsID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

// Digest is the hexadecimal SHA-256 of b.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// ArchOf guesses a target's architecture from the last part of its name (mock's custom: fedora-42-aarch64),
// and takes the machine's own if the name does not end in one.
func ArchOf(target string) string {
	if i := strings.LastIndexByte(target, '-'); i >= 0 {
		switch arch := target[i+1:]; arch {
		case "x86_64", "x86_64_v2", "aarch64", "ppc64le", "s390x", "riscv64", "i386", "i586", "i686", "armhfp",
			"armv7hl":
			return arch
		}
	}
	return HostArch()
}

// HostArch is the machine's architecture in RPM's spelling.
func HostArch() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	default:
		return runtime.GOARCH
	}
}

// HostTarget is the target of this machine's own rpmbuild, for the system with this id and version as os-release(5) has
// them, which may be empty. Its name is host-ID-VERSION-ARCH.
func HostTarget(id, version string) Target {
	name := "host"
	for _, part := range []string{id, version, HostArch()} {
		if part != "" {
			name += "-" + part
		}
	}
	if CheckTargetName(name) != nil {
		name = "host-" + HostArch()
	}
	return Target{Name: name, Arch: HostArch()}
}
