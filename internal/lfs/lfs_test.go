package lfs_test

import (
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/lfs"
)

func FuzzParsePointer(f *testing.F) {
	f.Add("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("ab", 32) + "\nsize 1\n")
	f.Add("version https://git-lfs.github.com/spec/v1\r\noid sha256:" + strings.Repeat("cd", 32) +
		"\r\nsize 9223372036854775808\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := lfs.ParsePointer("a\x1bb", []byte(text))
		if err == nil && (len(p.OID) != 64 || strings.Trim(p.OID, "0123456789abcdef") != "" || p.Size < 0) {
			t.Errorf("%q: %+v", text, p)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x1b\x00\n") {
			t.Errorf("%q is not fit for a message", err)
		}
	})
}
