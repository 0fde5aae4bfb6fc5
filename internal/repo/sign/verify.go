package sign

import (
	"bytes"
	"cmp"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// What a check can find, besides ErrDamaged.
var (
	ErrUnsigned     = errors.New("it has no signature")
	ErrUnknownKey   = errors.New("it is signed with an unknown key")
	ErrBadSignature = errors.New("its signature is not valid")
)

// clockSkew is by how much the clock of a machine that signs may be ahead of that of one that checks.
const clockSkew = 5 * time.Minute

// Keyring is the public keys that signatures are checked with.
type Keyring struct{ keys openpgp.EntityList }

// ReadKeyring reads armored public keys, in one block or several.
func ReadKeyring(text []byte) (Keyring, error) {
	begin := []byte("-----BEGIN " + openpgp.PublicKeyType + "-----")
	var k Keyring
	for i, block := range bytes.Split(text, begin) {
		if i == 0 {
			continue // what stands before
		}
		entities, _, err := parseArmored(slices.Concat(begin, block))
		if err != nil {
			return k, fmt.Errorf("public key %d: %w", i, err)
		}
		k.keys = append(k.keys, entities...)
	}
	if len(k.keys) == 0 {
		return k, errors.New("there is no armored public key")
	}
	return k, nil
}

// Verified tells which keys a package is signed with, by their fingerprints.
type Verified struct {
	By []string
	// Unknown are keys that were not given. rpm 6 refuses the package as long as it lacks one of the keys.
	Unknown []string
}

// Package reads a whole package, and checks its signatures and digests. The error is an ErrUnsigned, ErrUnknownKey,
// ErrBadSignature, ErrDamaged, an rpmfile.ErrNotRPM, or one of reading.
func (k Keyring) Package(r io.Reader) (Verified, error) {
	var v Verified
	p, err := open(r)
	if err != nil {
		return v, fmt.Errorf("check package: %w", err)
	}
	raws, err := p.signatures()
	if err == nil && len(raws) == 0 {
		err = ErrUnsigned
	}
	for _, raw := range raws {
		err = errors.Join(err, k.one(&v, raw, bytes.NewReader(p.header)))
	}
	if err == nil && len(v.By) == 0 {
		err = fmt.Errorf("%w: %s", ErrUnknownKey, v.Unknown[0])
	}
	if err == nil {
		err = k.payload(p, r)
	}
	if err != nil {
		return v, fmt.Errorf("check package: %w", err)
	}
	return v, nil
}

// one checks a signature. One of a key that was not given is noted, and is not an error.
func (k Keyring) one(v *Verified, raw []byte, data io.Reader) error {
	sig, err := readSignature(raw)
	if err != nil {
		return err
	}
	by, err := k.check(sig, raw, data)
	switch {
	case errors.Is(err, ErrUnknownKey):
		v.Unknown = appendNew(v.Unknown, issuer(sig))
	case err != nil:
		return err
	default:
		v.By = appendNew(v.By, by)
	}
	return nil
}

// payload checks the rest of a package. The signature of the header covers it by its digest; without that there must be
// one of both.
func (k Keyring) payload(p *pkg, r io.Reader) error {
	if p.payload != nil {
		_, err := p.copyPayload(io.Discard, r)
		return err
	}
	raw := p.whole()
	if raw == nil {
		return fmt.Errorf("%w of its payload, and its header has no digest of that", ErrUnsigned)
	}
	sig, err := readSignature(raw)
	if err != nil {
		return err
	}
	source := &noted{r: r}
	_, err = k.check(sig, raw, io.MultiReader(bytes.NewReader(p.header), source))
	return cmp.Or(source.err, err)
}

// noted keeps the error of a reader apart from what is made of it.
type noted struct {
	r   io.Reader
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	size, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return size, err
}

func appendNew(all []string, one string) []string {
	if slices.Contains(all, one) {
		return all
	}
	return append(all, one)
}

// signatures are those of the header, as binary.
func (p *pkg) signatures() (all [][]byte, err error) {
	if e, ok := find(p.signature, tagOpenPGP); ok {
		for _, text := range e.texts() {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, fmt.Errorf("%w: it is not base64", ErrBadSignature)
			}
			all = append(all, raw)
		}
	}
	for _, tag := range []uint32{tagDSA, tagRSA} {
		if e, ok := find(p.signature, tag); ok {
			all = append(all, e.data)
		}
	}
	return all, nil
}

// whole is the signature of header and payload; nil: there is none.
func (p *pkg) whole() []byte {
	for _, tag := range []uint32{tagPGP, tagGPG} {
		if e, ok := find(p.signature, tag); ok {
			return e.data
		}
	}
	return nil
}

// Detached checks the armored signature of a file. It returns the fingerprint of the key. The error is an ErrUnknownKey
// or an ErrBadSignature.
func (k Keyring) Detached(file, signature []byte) (string, error) {
	block, err := armor.Decode(bytes.NewReader(signature))
	if err != nil || block.Type != openpgp.SignatureType {
		return "", fmt.Errorf("check signature: %w: it is not an armored signature", ErrBadSignature)
	}
	raw, err := io.ReadAll(io.LimitReader(block.Body, maxSignature))
	if err != nil {
		return "", fmt.Errorf("check signature: %w: %w", ErrBadSignature, err)
	}
	sig, err := readSignature(raw)
	if err != nil {
		return "", fmt.Errorf("check signature: %w", err)
	}
	by, err := k.check(sig, raw, bytes.NewReader(file))
	if err != nil {
		return "", fmt.Errorf("check signature: %w", err)
	}
	return by, nil
}

// readSignature reads one signature of the kind that rpm takes. Those with digests that are no longer safe are refused.
func readSignature(raw []byte) (*packet.Signature, error) {
	rest := bytes.NewReader(raw)
	p, err := packet.Read(rest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	sig, ok := p.(*packet.Signature)
	switch {
	case !ok || rest.Len() != 0:
		return nil, fmt.Errorf("%w: it is not one OpenPGP signature", ErrBadSignature)
	case sig.SigType != packet.SigTypeBinary:
		return nil, fmt.Errorf("%w: it is not one of a binary file, but of type %d", ErrBadSignature, sig.SigType)
	case sig.IssuerKeyId == nil:
		return nil, fmt.Errorf("%w: it does not name its key", ErrBadSignature)
	case sig.Hash != crypto.SHA256 && sig.Hash != crypto.SHA384 && sig.Hash != crypto.SHA512:
		return nil, fmt.Errorf("%w: its digest is %s, not SHA-256, SHA-384 or SHA-512", ErrBadSignature, sig.Hash)
	}
	return sig, nil
}

// issuer names the key that a signature says it is from.
func issuer(sig *packet.Signature) string {
	if len(sig.IssuerFingerprint) > 0 {
		return fmt.Sprintf("%X", sig.IssuerFingerprint)
	}
	return fmt.Sprintf("%016X", *sig.IssuerKeyId)
}

// check compares a signature, which is also given as binary, with what is signed. It returns the key's fingerprint.
func (k Keyring) check(sig *packet.Signature, raw []byte, data io.Reader) (string, error) {
	config := &packet.Config{Time: func() time.Time { return time.Now().Add(clockSkew) }}
	_, signer, err := openpgp.VerifyDetachedSignature(k.keys, data, bytes.NewReader(raw), config)
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", fmt.Errorf("%w: %s", ErrUnknownKey, issuer(sig))
	case err != nil:
		return "", fmt.Errorf("%w: key %s: %w", ErrBadSignature, issuer(sig), err)
	}
	return fingerprint(signer), nil
}
