package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/rpmfile/rpmtest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestRPMAccepts(t *testing.T) {
	t.Parallel()
	packages := rpmbuild(t, small)
	for name, content := range rpmbuild(t, many) {
		packages[name] = content
	}
	if len(packages) != 4 {
		t.Fatalf("%d packages", len(packages))
	}
	older, newer := rsaKey(t), newKey(t)
	both, one := database(t, older, newer), database(t, older)
	for name, content := range packages {
		for _, key := range []*Key{older, newer} {
			kind := map[*Key]string{older: "V4 RSA/SHA256", newer: "V4 EdDSA/SHA256"}[key]
			ok := strings.ToLower(key.Fingerprint()[32:]) + ": OK"
			result := signed(t, content, key)
			if says, accepted := rpmSays(t, both, result); !accepted || !strings.Contains(says, kind) ||
				!strings.Contains(says, ok) {
				t.Errorf("%s: not %s, %s:\n%s", name, kind, ok, says)
			}
			if len(result) != len(content) {
				t.Errorf("%s: %d bytes became %d: the reserved space was not used", name, len(content), len(result))
			}
			v, err := ring(t, older, newer).Package(bytes.NewReader(result))
			if err != nil || !slices.Equal(v.By, []string{key.Fingerprint()}) || v.Unknown != nil {
				t.Errorf("%s: %+v, %v", name, v, err)
			}
		}
		// Signed again, it has the last signature only.
		first := signed(t, content, newer)
		again := signed(t, first, older)
		if says, ok := rpmSays(t, one, again); !ok || strings.Count(strings.ToLower(says), "signature") != 1 {
			t.Errorf("%s, signed again:\n%s", name, says)
		}
		if says, ok := rpmSays(t, one, first); ok || !strings.Contains(says, "NOKEY") {
			t.Errorf("%s is accepted without its key:\n%s", name, says)
		}
	}
}

// Whatever is altered, neither rpm nor the check here accepts it.
func TestAlteredPackagesAreRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for name, content := range rpmbuild(t, small) {
		result := signed(t, content, key)
		head := testkit.Value(rpmfile.ReadHead(bytes.NewReader(result)))(t)
		payload := len(head.Lead) + len(head.Signature) + len(head.Header)
		header := payload - len(head.Header) + bytes.Index(head.Header, []byte("1.0~rc1"))
		database := database(t, key)
		for what, at := range map[string]int{"header": header, "payload": payload + 20, "end": len(result) - 1} {
			altered := bytes.Clone(result)
			altered[at] ^= 1
			if says, ok := rpmSays(t, database, altered); ok {
				t.Errorf("%s, %s: rpm accepts it:\n%s", name, what, says)
			}
			if _, err := ring(t, key).Package(bytes.NewReader(altered)); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			signer := testkit.Value(NewSigner(key))(t)
			r := bytes.NewReader(altered)
			s, err := signer.Package(t.Context(), r)
			if err == nil {
				_, _, err = s.Copy(io.Discard, r)
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: it is signed: %v", name, what, err)
			}
		}
		if _, err := ring(t, key).Package(bytes.NewReader(result[:len(result)-9])); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s cut off: %v", name, err)
		}
		if _, err := ring(t, newKey(t)).Package(bytes.NewReader(result)); !errors.Is(err, ErrUnknownKey) ||
			!strings.Contains(err.Error(), key.Fingerprint()) {
			t.Errorf("%s with another key: %v", name, err)
		}
		if _, err := ring(t, key).Package(bytes.NewReader(content)); !errors.Is(err, ErrUnsigned) {
			t.Errorf("%s unsigned: %v", name, err)
		}
		// The header altered together with its digests: only the signature tells.
		p := testkit.Value(open(bytes.NewReader(result)))(t)
		tags := testkit.Value(parse(p.header, tagImmutable))(t)
		for i := range tags {
			if tags[i].tag == 1001 {
				tags[i].data = []byte("1.0~rc2\x00")
			}
		}
		forged := assemble(p.signature, tags, string(result[payload:]))
		if _, err := ring(t, key).Package(bytes.NewReader(forged)); !errors.Is(err, ErrBadSignature) {
			t.Errorf("%s forged: %v", name, err)
		}
		if says, ok := rpmSays(t, database, forged); ok {
			t.Errorf("%s forged: rpm accepts it:\n%s", name, says)
		}
	}
}

// The signature header is laid out as by rpmsign.
func TestLayoutOfRPMSign(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"gpg", "rpmsign"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	gpg := testkit.Value(exec.LookPath("gpg"))(t)
	home, err := os.MkdirTemp("", "gpg") // short: there is a socket in it
	testkit.Must(t, err)
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GNUPGHOME=" + home, "HOME=" + home}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	t.Cleanup(func() {
		run("gpgconf", "--kill", "all")
		testkit.Must(t, os.RemoveAll(home))
	})
	pair := testkit.Value(rsaPair())(t)
	run("gpg", "--batch", "--import", testkit.Write(t, filepath.Join(t.TempDir(), "key.asc"), string(pair[0])))
	key := rsaKey(t)
	database := database(t, key)
	for name, content := range rpmbuild(t, small) {
		var theirs []byte
		testkit.Until(t, func() error { // of some hundred signatures of rpmsign 4.18 rpm itself refuses one
			file := testkit.Write(t, filepath.Join(t.TempDir(), name), string(content))
			run("rpmsign", "--define", "_gpg_name "+key.Fingerprint(), "--define", "__gpg "+gpg, "--addsign", file)
			theirs = testkit.Value(os.ReadFile(file))(t)
			if says, ok := rpmSays(t, database, theirs); !ok {
				return errors.New(says)
			}
			return nil
		})
		ours := signed(t, content, key)
		layout := func(content []byte) string {
			var b strings.Builder
			p := testkit.Value(open(bytes.NewReader(content)))(t)
			for _, e := range p.signature {
				count := e.count
				if e.tag == tagRSA || e.tag == tagReservedSpace {
					count = 0 // a signature of gpg has other subpackets, and its number may begin with zeros
				}
				fmt.Fprintf(&b, "%d %d %d\n", e.tag, e.kind, count)
			}
			fmt.Fprintf(&b, "%d in all", len(content))
			return b.String()
		}
		if got, want := layout(ours), layout(theirs); got != want {
			t.Errorf("%s:\n%s\nrpmsign:\n%s", name, got, want)
		}
		// What gpg has signed is accepted, and replaced.
		v, err := ring(t, key).Package(bytes.NewReader(theirs))
		if err != nil || !slices.Equal(v.By, []string{key.Fingerprint()}) {
			t.Errorf("%s, signed by rpmsign: %+v, %v", name, v, err)
		}
		if again := signed(t, theirs, newKey(t)); len(again) != len(content) {
			t.Errorf("%s, signed by rpmsign and again: %d bytes, not %d", name, len(again), len(content))
		}
	}
}

// rpm 6 is not to be had here, so packages of version 6 are made by the description of the format (format_v6.md). rpm 4
// reads them, and checks the one signature that is for it.
func TestVersion6(t *testing.T) {
	t.Parallel()
	older, newer := rsaKey(t), newKey(t)
	content := plain(6, digest("payload"), "payload")
	result := signed(t, content, older, newer)
	p := testkit.Value(open(bytes.NewReader(result)))(t)
	var tags []uint32
	for _, e := range p.signature {
		tags = append(tags, e.tag)
	}
	if want := []uint32{tagRSA, tagSHA256, tagOpenPGP, tagSHA3, tagReserved}; !slices.Equal(tags, want) || !p.v6 {
		t.Errorf("tags %v, want %v", tags, want)
	}
	// The second key does not sign: rpm 6 would refuse the package where one of the keys is missing.
	if e, _ := find(p.signature, tagOpenPGP); e.count != 1 || e.kind != typeStrings || len(e.texts()) != 1 {
		t.Errorf("%d signatures of type %d: %q", e.count, e.kind, e.texts())
	}
	if len(result) != len(content) {
		t.Errorf("%d bytes became %d", len(content), len(result))
	}
	v, err := ring(t, older).Package(bytes.NewReader(result))
	if err != nil || !slices.Equal(v.By, []string{older.Fingerprint()}) || v.Unknown != nil {
		t.Errorf("%+v, %v", v, err)
	}
	again := signed(t, result, newer)
	v, err = ring(t, older, newer).Package(bytes.NewReader(again))
	if err != nil || !slices.Equal(v.By, []string{newer.Fingerprint()}) {
		t.Errorf("signed again: %+v, %v", v, err)
	}
	database := database(t, older)
	for name, content := range rpmbuild(t, small) {
		result := signed(t, version6(t, content), older)
		if says, ok := rpmSays(t, database, result); !ok || !strings.Contains(says, "V4 RSA/SHA256") {
			t.Errorf("%s as version 6:\n%s", name, says)
		}
	}
}

// A package of rpm 4.11 has no digest of its payload in its header, so the signature of the header alone does not cover
// that. dnf asks rpm for signatures of both.
func TestPackagesOfOldRPM(t *testing.T) {
	t.Parallel()
	const asDNF = "_pkgverify_level signature"
	rsa, ed := rsaKey(t), newKey(t)
	for name, content := range rpmbuild(t, small) {
		old := rpmtest.Old(content)
		for _, key := range []*Key{rsa, ed} {
			db := database(t, key)
			if says, ok := rpmSays(t, db, old, "_pkgverify_level digest"); !ok {
				t.Fatalf("%s, not signed, is not a package for rpm:\n%s", name, says)
			}
			result := signed(t, old, key)
			says, ok := rpmSays(t, db, result, asDNF)
			if !ok || strings.Count(says, "Signature, key ID") != 2 {
				t.Errorf("%s: rpm refuses it:\n%s", name, says)
			}
			if by := testkit.Value(ring(t, key).Package(bytes.NewReader(result)))(t).By; len(by) != 1 {
				t.Errorf("%s: signed by %v", name, by)
			}
			signer := testkit.Value(NewSigner(key))(t)
			if !testkit.Value(signer.Signed(bytes.NewReader(result)))(t) {
				t.Errorf("%s is not seen as signed", name)
			}
			altered := bytes.Clone(result)
			altered[len(altered)-9] ^= 1
			if says, ok := rpmSays(t, db, altered, asDNF); ok {
				t.Errorf("%s, altered: rpm accepts it:\n%s", name, says)
			}
			if _, err := ring(t, key).Package(bytes.NewReader(altered)); !errors.Is(err, ErrBadSignature) {
				t.Errorf("%s, altered: %v", name, err)
			}
			// With the signature of the header alone, as it was once made here.
			p := testkit.Value(open(bytes.NewReader(result)))(t)
			entries := slices.DeleteFunc(slices.Clone(p.signature), func(e entry) bool {
				return e.tag == tagPGP || e.tag == tagGPG
			})
			half := slices.Concat(p.lead, format(entries, tagSignatures))
			half = append(half, make([]byte, -len(half)&7)...)
			half = append(append(half, p.header...), result[bytes.Index(result, p.header)+len(p.header):]...)
			if says, ok := rpmSays(t, db, half, asDNF); ok {
				t.Errorf("%s: rpm accepts the signature of the header alone:\n%s", name, says)
			}
			if _, err := ring(t, key).Package(bytes.NewReader(half)); !errors.Is(err, ErrUnsigned) {
				t.Errorf("%s, header signed: %v", name, err)
			}
			if testkit.Value(signer.Signed(bytes.NewReader(half)))(t) {
				t.Errorf("%s, header signed, is seen as signed", name)
			}
		}
	}
}

// A package with little or no room for signatures grows.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for _, room := range []int{0, 1, 50, 4128} {
		sig := []entry{}
		if room > 0 {
			sig = append(sig, entry{tag: tagReservedSpace, kind: typeBin, count: uint32(room),
				data: make([]byte, room)})
		}
		tags := []entry{{tag: 1000, kind: typeString, count: 1, data: []byte("hello\x00")}}
		content := assemble(sig, tags, "payload")
		result := signed(t, content, key)
		if grown := len(result) > len(content); grown != (room < 1000) {
			t.Errorf("room for %d: %d bytes became %d", room, len(content), len(result))
		}
		if _, err := ring(t, key).Package(bytes.NewReader(result)); err != nil {
			t.Errorf("room for %d: %v", room, err)
		}
	}
}

// The package has no digest of its payload, so that is read to be signed, to check the signature, and to be copied.
func TestMemoryStaysFlat(t *testing.T) { //nolint:paralleltest // the memory is measured that the process takes
	const size = 1 << 30
	signer := testkit.Value(NewSigner(newKey(t)))(t)
	file := testkit.Write(t, filepath.Join(t.TempDir(), "x.rpm"), string(plain(4, "", "")))
	testkit.Must(t, os.Truncate(file, size))
	r := testkit.Value(os.Open(file))(t)
	defer r.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	s, err := signer.Package(t.Context(), r)
	testkit.Must(t, err)
	written, _, err := s.Copy(io.Discard, r)
	testkit.Must(t, err)
	runtime.ReadMemStats(&after)
	if written < size {
		t.Errorf("%d bytes written", written)
	}
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 8<<20 {
		t.Errorf("%d bytes of memory were taken in all", taken)
	}
	t.Logf("1 GB in %s", time.Since(start))
}

func TestDetached(t *testing.T) {
	t.Parallel()
	first, second := rsaKey(t), newKey(t)
	signer := testkit.Value(NewSigner(first, second))(t)
	repomd := []byte("<repomd/>\n")
	asc := testkit.Value(signer.Detached(t.Context(), repomd))(t)
	if by, err := ring(t, first, second).Detached(repomd, asc); err != nil || by != first.Fingerprint() {
		t.Errorf("%s, %v", by, err)
	}
	if n := strings.Count(string(asc), "BEGIN PGP SIGNATURE"); n != 1 || !strings.HasSuffix(string(asc), "-----\n") {
		t.Errorf("%d signatures: %q", n, asc)
	}
	for name, test := range map[string]struct {
		ring            Keyring
		file, signature []byte
		want            error
	}{
		"altered":     {ring(t, first), []byte("<repomd />\n"), asc, ErrBadSignature},
		"unknown key": {ring(t, second), repomd, asc, ErrUnknownKey},
		"empty":       {ring(t, first), repomd, nil, ErrBadSignature},
		"a key":       {ring(t, first), repomd, testkit.Value(first.Public())(t), ErrBadSignature},
	} {
		if _, err := test.ring.Detached(test.file, test.signature); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A package is what a foreign build has made.
func FuzzPackage(f *testing.F) {
	key := newKey(f)
	signer := testkit.Value(NewSigner(key))(f)
	keys := ring(f, key)
	f.Add(plain(4, digest("payload"), "payload"))
	f.Add(plain(6, digest("payload"), "payload"))
	f.Add(plain(4, "", "payload"))
	f.Add(signed(f, plain(6, digest("payload"), "payload"), key))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, _ = keys.Package(bytes.NewReader(content)) // must return
		r := bytes.NewReader(content)
		s, err := signer.Package(t.Context(), r)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if _, _, err := s.Copy(&b, r); err != nil {
			return
		}
		if v, err := keys.Package(&b); err != nil || !slices.Equal(v.By, []string{key.Fingerprint()}) {
			t.Errorf("what was signed is not accepted: %+v, %v", v, err)
		}
	})
}
