package forge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrSignature means that a delivery is not signed with the project's secret.
var ErrSignature = errors.New("the signature does not match")

// Sign makes a signature of the form sha256=<hex>: HMAC-SHA256 of the body.
func Sign(secret string, body []byte) string {
	return signaturePrefix + hex.EncodeToString(sum(secret, body))
}

const signaturePrefix = "sha256="

// Verify checks a signature of the form sha256=<hex> in constant time. An empty secret never matches.
func Verify(secret string, body []byte, signature string) error {
	digits, ok := strings.CutPrefix(signature, signaturePrefix)
	given, err := hex.DecodeString(digits)
	if secret == "" || !ok || err != nil || !hmac.Equal(sum(secret, body), given) {
		return ErrSignature
	}
	return nil
}

// verify checks the signature of a delivery.
func (f Forge) verify(secret string, signed []byte, signature string) error {
	if signature == "" {
		return fmt.Errorf("%w: there is no %s header: set a secret in the webhook's settings", ErrSignature, f.Header)
	}
	return Verify(secret, signed, signature)
}

func sum(secret string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return mac.Sum(nil)
}
