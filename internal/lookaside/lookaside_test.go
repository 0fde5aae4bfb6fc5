package lookaside_test

import (
	"testing"

	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/lookaside"
)

func TestPresets(t *testing.T) {
	t.Parallel()
	f := lookaside.Fields{Name: "gcc-c++", Branch: "c8s", File: "a b#1.tar.gz",
		Checksum: checksum.Checksum{Algorithm: "sha1", Hex: "ab"}}
	for name, want := range map[string]string{
		"fedora": "https://src.fedoraproject.org/repo/pkgs/rpms/gcc-c++/a%20b%231.tar.gz/sha1/ab/" +
			"a%20b%231.tar.gz",
		"centos-stream": "https://sources.stream.centos.org/sources/rpms/gcc-c++/a%20b%231.tar.gz/sha1/ab/" +
			"a%20b%231.tar.gz",
		"centos":    "https://git.centos.org/sources/gcc-c++/c8s/ab",
		"rocky":     "https://sources.build.resf.org/ab",
		"rocky-8":   "https://rocky-linux-sources-staging.a1.rockylinux.org/ab",
		"almalinux": "https://sources.almalinux.org/ab",
	} {
		if got, err := lookaside.URL(name, f); got != want || err != nil || lookaside.Check(name) != nil {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
	if got := len(lookaside.Presets()); got != 6 {
		t.Errorf("%d presets, and not all of them are tested", got)
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	f := lookaside.Fields{Name: "hello", File: "a/../b"}
	if got, err := lookaside.URL("https://host/{name}?{file}", f); err != nil ||
		got != "https://host/hello?a%2F..%2Fb" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := lookaside.URL("https://host/{branch}/{file}", f); err == nil {
		t.Error("a field that is not known is empty in the URL")
	}
	for _, bad := range []string{"", "debian", "https://host/{name}", "https://host/{file}/{x}", "file:///{file}",
		"https:///{file}", "https://u:p@host/{file}",
		"https://{name}.host/{file}"} {
		if lookaside.Check(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
