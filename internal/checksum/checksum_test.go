package checksum_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/checksum"
)

func TestNew(t *testing.T) {
	t.Parallel()
	for _, algorithm := range checksum.Algorithms() {
		h := checksum.Checksum{Algorithm: algorithm}.Hash()
		if _, err := io.WriteString(h, "hello"); err != nil {
			t.Fatal(err)
		}
		digest := fmt.Sprintf("%x", h.Sum(nil))
		c, err := checksum.New(strings.ToUpper(algorithm), strings.ToUpper(digest))
		if err != nil || c.String() != algorithm+":"+digest {
			t.Errorf("%s: %s, %v", algorithm, c, err)
		}
		if of, err := checksum.Of(digest); err != nil || of != c {
			t.Errorf("%s: by its length it is %s, %v", algorithm, of, err)
		}
		if file, of, err := checksum.ParseFile(" " + c.String() + "  a file.tar.gz "); err != nil || of != c ||
			file != "a file.tar.gz" {
			t.Errorf("%s: %q %s, %v", algorithm, file, of, err)
		}
		if _, err := checksum.New(algorithm, digest[1:]); err == nil {
			t.Errorf("%s: a short digest is taken", algorithm)
		}
	}
	for _, text := range []string{"", "file", "md5 file", "md5: file", "sha3:00 file", "md5:" +
		strings.Repeat("x", 32) +
		" file",
		"md5:" + strings.Repeat("0", 32), "md5:" + strings.Repeat("0", 32) + " a/b"} {
		if file, c, err := checksum.ParseFile(text); err == nil {
			t.Errorf("%q is read as %s of %q", text, c, file)
		}
	}
	if _, err := checksum.Of("00"); err == nil {
		t.Error("two digits are a checksum")
	}
}

func TestCheckFileName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "hello-1.0.tar.gz", ".hidden", "ä b", strings.Repeat("x", 255)} {
		if err := checksum.CheckFileName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/", "a\x00", "a\nb", "\x7f", "\xff", strings.Repeat("x", 256)} {
		if checksum.CheckFileName(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
