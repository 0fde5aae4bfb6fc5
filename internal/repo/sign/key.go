package sign

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
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

const minRSABits = 2048 // less is refused by EL 8 and later

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

// Fingerprint names the key.
func (k *Key) Fingerprint() string { return fingerprint(k.entity) }

func fingerprint(e *openpgp.Entity) string { return fmt.Sprintf("%X", e.PrimaryKey.Fingerprint) }

// Expires is when the key stops to sign: itself, or its subkey for that; zero if it does not.
func (k *Key) Expires() (end time.Time) {
	if self, _ := k.entity.PrimarySelfSignature(); self != nil {
		end = expires(k.entity.PrimaryKey, self)
	}
	if key, ok := k.entity.SigningKey(time.Now()); ok {
		if sub := expires(key.PublicKey, key.SelfSignature); !sub.IsZero() && (end.IsZero() || sub.Before(end)) {
			end = sub
		}
	}
	return end
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

func (k *Key) ring() Keyring { return Keyring{openpgp.EntityList{k.entity}} }

// usable returns the key or the subkey that signs now, or why there is none.
func (k *Key) usable(now time.Time) (openpgp.Key, error) {
	key, ok := k.entity.SigningKey(now)
	if !ok {
		return key, k.unusable(now)
	}
	if err := k.known(key.PublicKey); err != nil {
		return key, err
	}
	bits, err := key.PublicKey.BitLength()
	switch {
	case err != nil:
		return key, fmt.Errorf("signing key %s: %w", k.Fingerprint(), err)
	case key.PublicKey.PubKeyAlgo == packet.PubKeyAlgoDSA:
		return key, hint.Add(fmt.Errorf("signing key %s: DSA is refused by many systems", k.Fingerprint()),
			"use a key with RSA or Ed25519")
	case key.PublicKey.PubKeyAlgo == packet.PubKeyAlgoRSA && bits < minRSABits:
		return key, hint.Add(fmt.Errorf("signing key %s: RSA with %d bits is refused by many systems",
			k.Fingerprint(), bits), "use a key with 4096 bits")
	}
	return key, nil
}

// known fails if there are clients that cannot read the key: these would trust none of the keys in the same file.
func (k *Key) known(key *packet.PublicKey) error {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoDSA, packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
		if key.Version == 4 {
			return nil
		}
	}
	return hint.Add(fmt.Errorf("signing key %s: version %d, algorithm %d is not known to every rpm", k.Fingerprint(),
		key.Version, key.PubKeyAlgo), "use a key of version 4 with RSA or Ed25519")
}

// over reports whether the key has expired or was revoked.
func (k *Key) over(now time.Time) bool {
	self, identity := k.entity.PrimarySelfSignature()
	if self == nil || k.entity.Revoked(now) || identity != nil && identity.Revoked(now) {
		return true
	}
	end := expires(k.entity.PrimaryKey, self)
	return !end.IsZero() && end.Before(now)
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

// message is what is signed, read from its beginning each time: it may be a package.
type message func() (io.Reader, error)

func inMemory(data []byte) message {
	return func() (io.Reader, error) { return bytes.NewReader(data), nil }
}

// sign makes a detached signature, and checks it: a wrong one, of a faulty machine or another key, must not be
// published.
func (k *Key) sign(ctx context.Context, data message) ([]byte, *packet.Signature, error) {
	key, err := k.usable(time.Now())
	if err != nil {
		return nil, nil, err
	}
	raw, err := k.raw(ctx, key, data)
	var sig *packet.Signature
	if err == nil {
		sig, err = readSignature(raw)
	}
	var again io.Reader
	if err == nil {
		again, err = data()
	}
	if err == nil {
		_, err = k.ring().check(sig, raw, again)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("signing key %s: %w", k.Fingerprint(), err)
	}
	return raw, sig, nil
}

func (k *Key) raw(ctx context.Context, key openpgp.Key, data message) ([]byte, error) {
	r, err := data()
	if err != nil {
		return nil, err
	}
	if k.command != nil {
		return k.run(ctx, r)
	}
	config := settings()
	config.SigningKeyId = key.PublicKey.KeyId
	var b bytes.Buffer
	err = openpgp.DetachSign(&b, k.entity, r, config)
	return b.Bytes(), err
}
