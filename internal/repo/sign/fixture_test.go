package sign

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	lifeline.Main(nil)
	os.Exit(m.Run())
}

// rsaPair is made once: it takes seconds.
var rsaPair = sync.OnceValues(func() ([2][]byte, error) {
	private, public, err := Generate(RSA4096, "rpmflow test", "packages@example.com")
	return [2][]byte{private, public}, err
})

func rsaKey(t testing.TB) *Key {
	t.Helper()
	pair := testkit.Value(rsaPair())(t)
	return testkit.Value(ParseKey(pair[0]))(t)
}

func newKey(t testing.TB) *Key {
	t.Helper()
	private, _, err := Generate(Ed25519, "rpmflow test", "")
	testkit.Must(t, err)
	return testkit.Value(ParseKey(private))(t)
}

func ring(t testing.TB, keys ...*Key) Keyring {
	t.Helper()
	signer := testkit.Value(NewSigner(keys...))(t)
	return testkit.Value(ReadKeyring(testkit.Value(signer.Public())(t)))(t)
}

// signed signs a package with the keys.
func signed(t testing.TB, unsigned []byte, keys ...*Key) []byte {
	t.Helper()
	signer := testkit.Value(NewSigner(keys...))(t)
	r := bytes.NewReader(unsigned)
	s, err := signer.Package(t.Context(), r)
	testkit.Must(t, err)
	var b bytes.Buffer
	size, sum, err := s.Copy(&b, r)
	testkit.Must(t, err)
	if want := sha256.Sum256(b.Bytes()); size != int64(b.Len()) || sum != hex.EncodeToString(want[:]) {
		t.Errorf("%d bytes with the digest %s were written, and reported are %d with %x", b.Len(), sum, size, want)
	}
	if got := b.Bytes()[s.HeaderStart:s.HeaderEnd]; !bytes.Equal(got, s.pkg.header) {
		t.Errorf("the header does not stand at %d-%d", s.HeaderStart, s.HeaderEnd)
	}
	return b.Bytes()
}

// plain makes a package without help of rpm. The payload's digest is left out if it is empty.
func plain(format int, payloadDigest string, payload string) []byte {
	text := func(tag uint32, kind uint32, s string) entry {
		return entry{tag: tag, kind: kind, count: 1, data: []byte(s + "\x00")}
	}
	number := func(tag uint32, v int) entry {
		return entry{tag: tag, kind: typeInt32, count: 1, data: []byte{0, 0, byte(v >> 8), byte(v)}}
	}
	tags := []entry{text(1000, typeString, "hello"), text(1001, typeString, "1"), text(1002, typeString, "2"),
		number(1009, 300), text(1022, typeString, "noarch"), text(1044, typeString, "hello-1-2.src.rpm")}
	if payloadDigest != "" {
		tags = append(tags, text(tagPayloadDigest, typeStrings, payloadDigest))
	}
	sig := []entry{number(1000, 1), {tag: tagReservedSpace, kind: typeBin, count: 4128, data: make([]byte, 4128)}}
	if format >= 6 {
		tags = append(tags, number(tagFormat, format))
		sig = []entry{{tag: tagReserved, kind: typeBin, count: 4128, data: make([]byte, 4128)}}
	}
	return assemble(sig, tags, payload)
}

func assemble(sig, tags []entry, payload string) []byte {
	header := format(tags, tagImmutable)
	for tag, sum := range headerDigests() {
		sig = slices.DeleteFunc(sig, func(e entry) bool { return e.tag == tag })
		h := sum()
		h.Write(header)
		text := hex.EncodeToString(h.Sum(nil)) + "\x00"
		sig = append(sig, entry{tag: tag, kind: typeString, count: 1, data: []byte(text)})
	}
	lead := make([]byte, 96)
	copy(lead, "\xed\xab\xee\xdb\x03\x00\x00\x00\x00\x01hello-1-2")
	lead[77], lead[79] = 1, 5 // system, kind of signature
	out := slices.Concat(lead, format(sig, tagSignatures))
	out = append(out, make([]byte, -len(out)&7)...)
	return append(append(out, header...), payload...)
}

func digest(payload string) string {
	sum := sha256.Sum256([]byte(payload))
	return hex.EncodeToString(sum[:])
}

// rpmbuild makes packages of a spec: the binary ones and the source package, by their names.
func rpmbuild(t *testing.T, spec string) map[string][]byte {
	t.Helper()
	for _, program := range []string{"rpmbuild", "rpmkeys"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	dir := t.TempDir()
	file := testkit.Write(t, filepath.Join(dir, "x.spec"), spec)
	out, err := exec.CommandContext(t.Context(), "rpmbuild", "-ba", "--nodeps", "--define", "_topdir "+dir, file).
		CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	packages := map[string][]byte{}
	for _, pattern := range []string{"RPMS/*/*.rpm", "SRPMS/*.rpm"} {
		for _, file := range testkit.Value(filepath.Glob(filepath.Join(dir, pattern)))(t) {
			packages[filepath.Base(file)] = testkit.Value(os.ReadFile(file))(t)
		}
	}
	return packages
}

// database is an rpm database with these keys imported.
func database(t *testing.T, keys ...*Key) string {
	t.Helper()
	dir := t.TempDir()
	signer := testkit.Value(NewSigner(keys...))(t)
	file := testkit.Write(t, filepath.Join(t.TempDir(), "key.asc"), string(testkit.Value(signer.Public())(t)))
	cmd := exec.CommandContext(t.Context(), "rpmkeys", "--dbpath", dir, "--import", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rpmkeys --import: %v\n%s", err, out)
	}
	return dir
}

// rpmSays is what rpm finds in a package, and whether it accepts it.
func rpmSays(t *testing.T, database string, content []byte, macros ...string) (string, bool) {
	t.Helper()
	file := testkit.Write(t, filepath.Join(t.TempDir(), "x.rpm"), string(content))
	args := []string{"--dbpath", database, "-Kv", file}
	for _, m := range macros {
		args = append(args, "--define", m)
	}
	out, err := exec.CommandContext(t.Context(), "rpmkeys", args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), err == nil
}

const (
	small = "Name: small\nEpoch: 2\nVersion: 1.0~rc1\nRelease: 3\nSummary: x\nLicense: MIT\nBuildArch: noarch\n\n" +
		"%description\nx\n\n%files\n"
	many = "Name: many\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n\n%description\nx\n\n" +
		"%install\nmkdir -p %{buildroot}/usr/share/many\ncd %{buildroot}/usr/share/many\nseq 3000 | xargs touch\n\n" +
		"%files\n/usr/share/many\n"
)

// version6 makes a package of version 4 one of version 6.
func version6(t *testing.T, content []byte) []byte {
	t.Helper()
	r := bytes.NewReader(content)
	p := testkit.Value(open(r))(t)
	tags := testkit.Value(parse(p.header, tagImmutable))(t)
	tags = append(tags, entry{tag: tagFormat, kind: typeInt32, count: 1, data: []byte{0, 0, 0, 6}})
	room := entry{tag: tagReserved, kind: typeBin, count: 4128, data: make([]byte, 4128)}
	return assemble([]entry{room}, tags, string(testkit.Value(io.ReadAll(r))(t)))
}
