package sign

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/rpmflow/rpmflow/internal/hint"
)

// Algorithm is what a new key signs with.
type Algorithm string

// Algorithms of new keys. RSA is read by every rpm, Ed25519 from that of EL 8 on.
const (
	RSA4096 Algorithm = "rsa4096"
	Ed25519 Algorithm = "ed25519"
)

const (
	maxKey     = 1 << 20 // of a key's text, of one key or several
	minRSABits = 2048    // less is refused by EL 8 and later
)

// Key is an OpenPGP key that can sign: its private half is at hand, or a command has it.
type Key struct {
	entity  *openpgp.Entity // of a command's key the public half
	command []string
}

// Generate makes a key pair that does not expire, armored. The name and the address, which may be empty, are what tools
// show of the key.
func Generate(algorithm Algorithm, name, email string) (private, public []byte, err error) {
	entity, err := newEntity(algorithm, name, email)
	if err != nil {
		return nil, nil, fmt.Errorf("make a signing key: %w", err)
	}
	private, err = armored(openpgp.PrivateKeyType, func(w io.Writer) error {
		return entity.SerializePrivateWithoutSigning(w, nil)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make a signing key: %w", err)
	}
	public, err = (&Key{entity: entity}).Public()
	return private, public, err
}

// newEntity makes a key without the subkey for encryption that openpgp.NewEntity adds: with RSA it takes as long again.
func newEntity(algorithm Algorithm, name, email string) (*openpgp.Entity, error) {
	config := settings()
	switch algorithm {
	case RSA4096:
		key, err := rsa.GenerateKey(rand.Reader, 4096)
		if err != nil {
			return nil, err
		}
		if key.Primes[0].Cmp(key.Primes[1]) > 0 { // the smaller is the first in RFC 9580, 5.5.5.1
			key.Primes[0], key.Primes[1] = key.Primes[1], key.Primes[0]
			key.Precomputed = rsa.PrecomputedValues{}
			key.Precompute()
		}
		private := packet.NewSignerPrivateKey(config.Now(), key)
		entity := &openpgp.Entity{PrimaryKey: &private.PublicKey, PrivateKey: private,
			Identities: map[string]*openpgp.Identity{}}
		return entity, entity.AddUserId(name, "", email, config)
	case Ed25519:
		config.Algorithm = packet.PubKeyAlgoEdDSA // as of RFC 4880: rpm 4 knows no other
		entity, err := openpgp.NewEntity(name, "", email, config)
		if err == nil {
			entity.Subkeys = nil
		}
		return entity, err
	}
	return nil, fmt.Errorf("unknown algorithm %q: set %q or %q", algorithm, RSA4096, Ed25519)
}

// settings are those of everything that is signed here. Older rpms know fewer subpackets as critical than OpenPGP has
// (rpm 4.14 of openSUSE Leap 15, yum of EL 7), and the same package signed twice is the same.
func settings() *packet.Config {
	never := false
	return &packet.Config{NonDeterministicSignaturesViaNotation: &never, InsecureGenerateNonCriticalKeyFlags: true,
		InsecureGenerateNonCriticalSignatureCreationTime: true}
}

// ReadKey reads an armored private key from a file that nobody else may read.
func ReadKey(file string) (*Key, error) {
	const name = "name the file that has the private key"
	f, err := os.Open(file)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("signing key: %w", err), name)
	}
	defer func() { _ = f.Close() }() // it was read only
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("signing key: %w", err)
	case !info.Mode().IsRegular():
		return nil, hint.Add(fmt.Errorf("signing key: %s is not a file", file), name)
	case info.Mode().Perm()&0o027 != 0:
		return nil, hint.Add(fmt.Errorf("signing key: others can read or write %s (mode %04o)", file,
			info.Mode().Perm()), "chmod 600 "+file)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	k, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

// ParseKey takes an armored private key, as gpg --export-secret-keys --armor writes it: the value of a secret.
func ParseKey(text []byte) (*Key, error) {
	const export = "export it with gpg --export-secret-keys --armor KEY"
	entities, kind, err := parseArmored(text)
	switch {
	case err != nil:
		return nil, hint.Add(fmt.Errorf("signing key: %w", err), export)
	case kind != openpgp.PrivateKeyType:
		return nil, hint.Add(errors.New("signing key: this is the public half of a key only"), export)
	case len(entities) != 1:
		return nil, hint.Add(fmt.Errorf("signing key: these are %d keys", len(entities)), "give each by itself")
	}
	k := &Key{entity: entities[0]}
	key, err := k.usable(time.Now())
	switch {
	case err != nil:
		return nil, err
	case key.PrivateKey == nil || key.PrivateKey.Dummy():
		return nil, hint.Add(fmt.Errorf("signing key %s: its private half is not there", k.Fingerprint()), export)
	case key.PrivateKey.Encrypted:
		return nil, hint.Add(fmt.Errorf("signing key %s: it has a passphrase", k.Fingerprint()),
			"remove that from a copy (gpg --change-passphrase KEY) and export it again, or let a command sign")
	}
	return k, nil
}

// CommandKey is a key that is elsewhere, in a hardware token or on another machine. The command gets what is to be
// signed on its standard input, and writes a detached signature, binary or armored, as gpg --detach-sign does. It gets
// PATH and nothing else of the environment. Signatures are checked with the public half, which is armored.
func CommandKey(public []byte, command ...string) (*Key, error) {
	const export = "export the public half with gpg --export --armor KEY"
	entities, _, err := parseArmored(public)
	switch {
	case len(command) == 0:
		return nil, errors.New("signing command: it is empty")
	case err != nil:
		return nil, hint.Add(fmt.Errorf("signing command: public key: %w", err), export)
	case len(entities) != 1:
		return nil, hint.Add(fmt.Errorf("signing command: these are %d public keys", len(entities)), export)
	}
	k := &Key{entity: entities[0], command: command}
	_, err = k.usable(time.Now())
	return k, err
}

// parseArmored reads the first armored block of a text: its keys, and whether they are private ones.
func parseArmored(text []byte) (openpgp.EntityList, string, error) {
	if len(text) > maxKey {
		return nil, "", fmt.Errorf("this is larger than a key: %d bytes", len(text))
	}
	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, "", errors.New("this is not an armored OpenPGP key")
	}
	if block.Type != openpgp.PublicKeyType && block.Type != openpgp.PrivateKeyType {
		return nil, "", fmt.Errorf("this is not an OpenPGP key, but a %q", block.Type)
	}
	entities, err := openpgp.ReadKeyRing(block.Body)
	if err == nil && len(entities) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, "", fmt.Errorf("this is not an OpenPGP key that can be read: %w", err)
	}
	return entities, block.Type, nil
}

// Fingerprint names the key.
func (k *Key) Fingerprint() string { return fingerprint(k.entity) }

func fingerprint(e *openpgp.Entity) string { return fmt.Sprintf("%X", e.PrimaryKey.Fingerprint) }

// Expires is when the key stops to be valid; zero if it does not.
func (k *Key) Expires() time.Time {
	if self, _ := k.entity.PrimarySelfSignature(); self != nil {
		return expires(k.entity.PrimaryKey, self)
	}
	return time.Time{}
}

func expires(key *packet.PublicKey, self *packet.Signature) time.Time {
	if self.KeyLifetimeSecs == nil || *self.KeyLifetimeSecs == 0 {
		return time.Time{}
	}
	return key.CreationTime.Add(time.Duration(*self.KeyLifetimeSecs) * time.Second)
}

// Public is the armored public half.
func (k *Key) Public() ([]byte, error) {
	public, err := armored(openpgp.PublicKeyType, k.entity.Serialize)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", k.Fingerprint(), err)
	}
	return public, nil
}

// usable returns the key or the subkey that signs now, or why there is none.
func (k *Key) usable(now time.Time) (openpgp.Key, error) {
	key, ok := k.entity.SigningKey(now)
	if !ok {
		return key, k.unusable(now)
	}
	name := k.Fingerprint()
	bits, err := key.PublicKey.BitLength()
	switch algorithm := key.PublicKey.PubKeyAlgo; {
	case err != nil:
		return key, fmt.Errorf("signing key %s: %w", name, err)
	case key.PublicKey.Version != 4 || algorithm != packet.PubKeyAlgoRSA && algorithm != packet.PubKeyAlgoEdDSA &&
		algorithm != packet.PubKeyAlgoECDSA:
		return key, hint.Add(fmt.Errorf("signing key %s: version %d, algorithm %d is not known to every rpm", name,
			key.PublicKey.Version, algorithm), "use a key of version 4 with RSA or Ed25519")
	case algorithm == packet.PubKeyAlgoRSA && bits < minRSABits:
		return key, hint.Add(fmt.Errorf("signing key %s: RSA with %d bits is refused by many systems", name, bits),
			"use a key with 4096 bits")
	}
	return key, nil
}

// unusable says why a key signs nothing.
func (k *Key) unusable(now time.Time) error {
	const other = "use another key"
	e := k.entity
	self, identity := e.PrimarySelfSignature()
	err := func(why, do string, args ...any) error {
		return hint.Add(fmt.Errorf("signing key %s: "+why, append([]any{k.Fingerprint()}, args...)...), do)
	}
	switch {
	case e.Revoked(now) || identity != nil && identity.Revoked(now):
		return err("it is revoked", other)
	case self == nil:
		return err("it has no valid signature of its own", other)
	case e.PrimaryKey.CreationTime.After(now):
		return err("it was made in the future, at %s", "set this machine's clock", e.PrimaryKey.CreationTime.UTC())
	}
	keys := []openpgp.Key{{PublicKey: e.PrimaryKey, SelfSignature: self}}
	for _, sub := range e.Subkeys {
		if sub.Sig.FlagSign {
			keys = append(keys, openpgp.Key{PublicKey: sub.PublicKey, SelfSignature: sub.Sig})
		}
	}
	for _, key := range keys {
		if end := expires(key.PublicKey, key.SelfSignature); !end.IsZero() && end.Before(now) {
			return err("it expired at %s", "extend it (gpg --quick-set-expire KEY 2y) and export it again, or "+other,
				end.UTC().Format(time.RFC3339))
		}
	}
	return err("it may not sign", "use one that has the capability to sign (gpg --list-keys shows it as [S])")
}

// sign makes a detached signature, and checks it: a wrong one, of a faulty machine or another key, must not be
// published.
func (k *Key) sign(ctx context.Context, data []byte) ([]byte, *packet.Signature, error) {
	key, err := k.usable(time.Now())
	if err != nil {
		return nil, nil, err
	}
	var raw []byte
	if k.command != nil {
		raw, err = k.run(ctx, data)
	} else {
		config := settings()
		config.SigningKeyId = key.PublicKey.KeyId
		var b bytes.Buffer
		err = openpgp.DetachSign(&b, k.entity, bytes.NewReader(data), config)
		raw = b.Bytes()
	}
	var sig *packet.Signature
	if err == nil {
		sig, err = readSignature(raw)
	}
	if err == nil {
		_, err = Keyring{openpgp.EntityList{k.entity}}.check(sig, raw, data)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("signing key %s: %w", k.Fingerprint(), err)
	}
	return raw, sig, nil
}
