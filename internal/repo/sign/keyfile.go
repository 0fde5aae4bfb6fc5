package sign

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/rpmflow/rpmflow/internal/hint"
)

const (
	maxKey = 1 << 20 // of the text of all keys

	exportPrivate = "export it with gpg --export-secret-keys --armor KEY"
	exportPublic  = "export the public half with gpg --export --armor KEY"
)

// ReadFile reads a file with private keys, which nobody else may read.
func ReadFile(file string) ([]byte, error) {
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
	return text, nil
}

// ParseSigner takes armored keys, one after another. The first one signs: a private key, or the public half of the key
// that the command has. Clients are to trust the others, too: those that have signed before, or will. Of these the
// public half is enough.
func ParseSigner(text []byte, command ...string) (*Signer, error) {
	if len(text) > maxKey {
		return nil, hint.Add(fmt.Errorf("signing key: this is larger than a key: %d bytes", len(text)), exportPrivate)
	}
	all, err := blocks(text)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("signing key: %w", err), exportPrivate)
	}
	var first *Key
	if len(command) > 0 {
		first, err = CommandKey(all[0], command...)
	} else {
		first, err = ParseKey(all[0])
	}
	if err != nil {
		return nil, err
	}
	keys := []*Key{first}
	for i, block := range all[1:] {
		k, _, err := parseOne(block)
		if err != nil {
			err = hint.Add(err, exportPublic)
		} else {
			err = k.known(k.entity.PrimaryKey)
		}
		if err != nil {
			return nil, fmt.Errorf("signing key: key %d of %d: %w", i+2, len(all), err)
		}
		keys = append(keys, k)
	}
	return NewSigner(keys...)
}

// blocks are the armored keys of a text, each by itself. A text without any is one that cannot be read.
func blocks(text []byte) (all [][]byte, err error) {
	begin := []byte("-----BEGIN PGP ")
	parts := bytes.Split(text, begin)
	if len(parts) == 1 {
		return parts, nil
	}
	for _, part := range parts[1:] { // the first is what stands before
		all = append(all, slices.Concat(begin, part))
	}
	if ends := bytes.Count(text, []byte("-----END PGP ")); ends != len(all) {
		return nil, fmt.Errorf("%d keys begin and %d end: a part of them is missing", len(all), ends)
	}
	return all, nil
}

// ParseKey takes an armored private key, as gpg --export-secret-keys --armor writes it: the value of a secret.
func ParseKey(text []byte) (*Key, error) {
	k, kind, err := parseOne(text)
	switch {
	case err != nil:
		return nil, hint.Add(fmt.Errorf("signing key: %w", err), exportPrivate)
	case kind != openpgp.PrivateKeyType:
		return nil, hint.Add(errors.New("signing key: this is the public half of a key only"),
			exportPrivate+", or set publisher.signing_command")
	}
	key, err := k.usable(time.Now())
	switch {
	case err != nil:
		return nil, err
	case key.PrivateKey == nil || key.PrivateKey.Dummy():
		return nil, hint.Add(fmt.Errorf("signing key %s: its private half is not there", k.Fingerprint()),
			exportPrivate)
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
	if len(command) == 0 {
		return nil, errors.New("signing command: it is empty")
	}
	k, kind, err := parseOne(public)
	switch {
	case err != nil:
		return nil, hint.Add(fmt.Errorf("signing command: public key: %w", err), exportPublic)
	case kind != openpgp.PublicKeyType:
		return nil, hint.Add(errors.New("signing command: the key is a private one, which the command is to keep"),
			exportPublic)
	}
	k.command = command
	_, err = k.usable(time.Now())
	return k, err
}

// parseOne reads the key of an armored block, and what kind of block it is.
func parseOne(text []byte) (*Key, string, error) {
	entities, kind, err := parseArmored(text)
	if err == nil && len(entities) != 1 {
		err = fmt.Errorf("these are %d keys in one block: export each by itself", len(entities))
	}
	if err != nil {
		return nil, "", err
	}
	return &Key{entity: entities[0]}, kind, nil
}

// parseArmored reads the first armored block of a text: its keys, and whether they are private ones.
func parseArmored(text []byte) (openpgp.EntityList, string, error) {
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
