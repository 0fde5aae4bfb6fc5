package sign

import (
	"bytes"
	"context"
	"crypto/dsa" //nolint:staticcheck // keys of it are to be refused
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// private is a key that a test has altered, armored.
func private(t *testing.T, config *packet.Config, alter func(*openpgp.Entity)) []byte {
	t.Helper()
	if config.Algorithm == 0 {
		config.Algorithm = packet.PubKeyAlgoEdDSA
	}
	e := testkit.Value(openpgp.NewEntity("test", "", "", config))(t)
	alter(e)
	return testkit.Value(armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		return e.SerializePrivateWithoutSigning(w, config)
	}))(t)
}

func TestKeysThatCannotSign(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) func() time.Time {
		return func() time.Time { return time.Now().Add(-d) }
	}
	plain := func(config *packet.Config) []byte { return private(t, config, func(*openpgp.Entity) {}) }
	good := plain(&packet.Config{})
	public := testkit.Value(testkit.Value(ParseKey(good))(t).Public())(t)
	old := private(t, &packet.Config{}, toDSA)
	const export = "gpg --export-secret-keys --armor"
	for name, test := range map[string]struct {
		text     []byte
		says, do string
	}{
		"empty": {nil, "not an armored OpenPGP key", export},
		"text":  {[]byte("secret"), "not an armored OpenPGP key", export},
		"large": {bytes.Repeat([]byte("x"), 2<<20), "larger than a key", export},
		"certificate": {[]byte("-----BEGIN CERTIFICATE-----\n\naGVsbG8=\n-----END CERTIFICATE-----\n"),
			"but a \"CERTIFICATE\"", export},
		"damaged": {bytes.Replace(good, good[200:260], good[100:160], 1), "that can be read", export},
		"public":  {public, "public half", export},
		"passphrase": {private(t, &packet.Config{}, func(e *openpgp.Entity) {
			testkit.Must(t, e.EncryptPrivateKeys([]byte("x"), nil))
		}), "it has a passphrase", "gpg --change-passphrase"},
		"expired": {plain(&packet.Config{Time: ago(48 * time.Hour), KeyLifetimeSecs: 3600}), "it expired at 2",
			"gpg --quick-set-expire"},
		"revoked": {private(t, &packet.Config{}, func(e *openpgp.Entity) {
			testkit.Must(t, e.RevokeKey(packet.KeyRetired, "", nil))
		}), "it is revoked", "use another key"},
		"future": {plain(&packet.Config{Time: ago(-48 * time.Hour)}), "made in the future", "clock"},
		"certify only": {private(t, &packet.Config{}, func(e *openpgp.Entity) {
			for _, id := range e.Identities {
				id.SelfSignature.FlagSign = false
				testkit.Must(t, id.SelfSignature.SignUserId(id.Name, e.PrimaryKey, e.PrivateKey, nil))
			}
		}), "it may not sign", "[S]"},
		"version 6": {plain(&packet.Config{V6Keys: true, Algorithm: packet.PubKeyAlgoEd25519}),
			"not known to every rpm", "RSA or Ed25519"},
		"DSA":            {old, "DSA is refused", "RSA or Ed25519"},
		"two in a block": {two(t), "2 keys in one block", export},
		"cut off":        {good[:len(good)/2], "1 keys begin and 0 end", export},
		"without the second": {append(slices.Clone(good), "-----END PGP PUBLIC KEY BLOCK-----\n"...),
			"1 keys begin and 2 end", export},
		"a damaged second": {append(slices.Clone(good), bytes.Replace(public, public[200:260], public[100:160], 1)...),
			"key 2 of 2", "gpg --export --armor"},
		"a second that rpm does not know": {append(slices.Clone(good), plain(&packet.Config{V6Keys: true,
			Algorithm: packet.PubKeyAlgoEd25519})...), "not known to every rpm", "RSA or Ed25519"},
		"short": {plain(&packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 1024}), "1024 bits", "4096"},
	} {
		_, err := ParseSigner(test.text)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, do := hint.Split(err); do == "" || !strings.Contains(do, test.do) {
			t.Errorf("%s: it does not say what to do: %v", name, err)
		}
	}
}

func toDSA(e *openpgp.Entity) {
	key := &dsa.PrivateKey{}
	if err := dsa.GenerateParameters(&key.Parameters, rand.Reader, dsa.L1024N160); err != nil {
		panic(err)
	}
	if err := dsa.GenerateKey(key, rand.Reader); err != nil {
		panic(err)
	}
	e.PrivateKey = packet.NewDSAPrivateKey(e.PrimaryKey.CreationTime, key)
	e.PrimaryKey = &e.PrivateKey.PublicKey
	e.Subkeys = nil
	for _, id := range e.Identities {
		id.SelfSignature.PubKeyAlgo = packet.PubKeyAlgoDSA
		if err := id.SelfSignature.SignUserId(id.Name, e.PrimaryKey, e.PrivateKey, nil); err != nil {
			panic(err)
		}
	}
}

// two are two keys as gpg --export-secret-keys without a name writes them.
func two(t *testing.T) []byte {
	t.Helper()
	return testkit.Value(armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		return errors.Join(newKey(t).entity.SerializePrivateWithoutSigning(w, nil),
			newKey(t).entity.SerializePrivateWithoutSigning(w, nil))
	}))(t)
}

// The first key signs. Clients get all of them, each once, also one without its private half, but none that is over.
func TestSeveralKeys(t *testing.T) {
	t.Parallel()
	first, next := newKey(t), newKey(t)
	secret := testkit.Value(armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		return first.entity.SerializePrivateWithoutSigning(w, nil)
	}))(t)
	expired := private(t, &packet.Config{Time: func() time.Time { return time.Now().Add(-48 * time.Hour) },
		KeyLifetimeSecs: 3600}, func(*openpgp.Entity) {})
	public := testkit.Value(first.Public())(t)
	// The newline at the end of a file may be missing.
	text := slices.Concat(bytes.TrimSpace(secret), testkit.Value(next.Public())(t), []byte("a comment\n"), expired,
		public)
	signer := testkit.Value(ParseSigner(text))(t)
	if keys := signer.Keys(); len(keys) != 4 || keys[0].Fingerprint() != first.Fingerprint() {
		t.Fatalf("keys: %v", keys)
	}
	published := testkit.Value(signer.Public())(t)
	if n := strings.Count(string(published), "BEGIN PGP PUBLIC"); n != 2 ||
		strings.Contains(string(published), "PRIVATE") {
		t.Errorf("%d keys are published:\n%s", n, published)
	}
	repomd := []byte("<repomd/>")
	asc := testkit.Value(signer.Detached(t.Context(), repomd))(t)
	by, err := testkit.Value(ReadKeyring(published))(t).Detached(repomd, asc)
	if err != nil || by != first.Fingerprint() {
		t.Errorf("signed by %s, %v", by, err)
	}
	if n := len(signer.Keyring().keys); n != 4 {
		t.Errorf("signatures are checked with %d keys", n)
	}
	// With a command the first one is public.
	remote := testkit.Value(ParseSigner(slices.Concat(public, secret), "true"))(t)
	if remote.Keys()[0].command == nil {
		t.Error("the command is not used")
	}
	if _, err := ParseSigner(text, "true"); err == nil || !strings.Contains(err.Error(), "private one") {
		t.Errorf("a command and a private key: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := private(t, &packet.Config{}, func(*openpgp.Entity) {})
	file := testkit.Write(t, filepath.Join(dir, "key.asc"), string(good))
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o660: false, 0o604: false,
		0o644: false} {
		testkit.Must(t, os.Chmod(file, mode))
		_, err := ReadFile(file)
		if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "chmod 600 "+file) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, name := range []string{dir, filepath.Join(dir, "nosuch")} {
		if _, err := ReadFile(name); err == nil || !strings.Contains(err.Error(), name) ||
			!strings.Contains(err.Error(), "name the file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A primary key that is kept offline has a subkey that signs.
func TestSubkeySigns(t *testing.T) {
	t.Parallel()
	key := testkit.Value(ParseKey(private(t, &packet.Config{}, func(e *openpgp.Entity) {
		testkit.Must(t, e.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}))
	})))(t)
	content := signed(t, plain(4, "", "payload"), key)
	v, err := ring(t, key).Package(bytes.NewReader(content))
	if err != nil || v.By[0] != key.Fingerprint() {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestExpires(t *testing.T) {
	t.Parallel()
	made := time.Now()
	key := testkit.Value(ParseKey(private(t, &packet.Config{KeyLifetimeSecs: 3600}, func(*openpgp.Entity) {})))(t)
	if at := key.Expires(); at.Sub(made) > time.Hour || at.Sub(made) < 58*time.Minute {
		t.Errorf("it expires at %s", at)
	}
	if at := newKey(t).Expires(); !at.IsZero() {
		t.Errorf("it expires at %s", at)
	}
}

func TestCommandSigns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := newKey(t)
	public := testkit.Value(key.Public())(t)
	data := []byte("what is signed")
	raw, _, err := key.sign(t.Context(), inMemory(data))
	testkit.Must(t, err)
	signer := testkit.Value(NewSigner(key))(t)
	asc := testkit.Value(signer.Detached(t.Context(), data))(t)
	other := testkit.Value(NewSigner(newKey(t)))(t)
	wrong := testkit.Value(other.Detached(t.Context(), data))(t)
	for name, content := range map[string][]byte{"raw": raw, "asc": asc, "wrong": wrong, "key": public} {
		testkit.Write(t, filepath.Join(dir, name), string(content))
	}
	for script, want := range map[string]string{
		"cat > in; env > env; cat raw": "",
		"cat > in; cat asc":            "",
		"cat asc":                      "", // it need not read
		"cat wrong":                    "unknown key",
		"cat key":                      "not a detached signature",
		"true":                         "writes nothing",
		"exit 3":                       "exit status 3",
		"echo no token >&2; exit 3":    "no token",
		"yes":                          "not a signature",
	} {
		remote := testkit.Value(CommandKey(public, "sh", "-c", "cd "+dir+"; "+script))(t)
		got, _, err := remote.sign(t.Context(), inMemory(data))
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), key.Fingerprint()) {
				t.Errorf("%s: %v", script, err)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %x, %v", script, got, err)
		}
	}
	if got := testkit.Value(os.ReadFile(filepath.Join(dir, "in")))(t); !bytes.Equal(got, data) {
		t.Errorf("it got %q", got)
	}
	if env := string(testkit.Value(os.ReadFile(filepath.Join(dir, "env")))(t)); !strings.Contains(env, "PATH=") ||
		strings.Contains(env, "HOME=") {
		t.Errorf("its environment is %q", env)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("it took too long"))
	defer cancel()
	slow := testkit.Value(CommandKey(public, "sleep", "1000"))(t)
	if _, _, err := slow.sign(ctx, inMemory(data)); err == nil || !strings.Contains(err.Error(), "it took too long") {
		t.Errorf("a command that hangs: %v", err)
	}
	missing := testkit.Value(CommandKey(public, "/nosuch/command"))(t)
	if _, _, err := missing.sign(t.Context(), inMemory(data)); err == nil ||
		!strings.Contains(err.Error(), "/nosuch/command") {
		t.Errorf("a command that is missing: %v", err)
	}
	if _, err := CommandKey([]byte("x"), "true"); err == nil || !strings.Contains(err.Error(), "gpg --export --armor") {
		t.Errorf("no key: %v", err)
	}
}
