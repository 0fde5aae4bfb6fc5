package publisherd

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// public is the public key of a program with this key and directory.
func public(key, dir string) (string, error) {
	p := Program{Config: &config.Config{DataDir: dir}, Log: slog.New(slog.DiscardHandler)}
	p.Config.Publisher.SigningKey = config.Secret(key)
	signer, err := p.signer(p.generate)
	if err != nil {
		return "", err
	}
	text, err := signer.Public()
	return string(text), err
}

func TestSigningKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := testkit.Value(public("", dir))(t)
	if again := testkit.Value(public("", dir))(t); again != first {
		t.Error("a second start has made another key")
	}
	file := filepath.Join(dir, KeyFile)
	if info := testkit.Value(os.Stat(file))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the key: %v", info.Mode())
	}
	private, own, err := sign.Generate(sign.Ed25519, "own", "")
	testkit.Must(t, err)
	if got := testkit.Value(public(string(private), dir))(t); got != string(own) {
		t.Errorf("the configured key is not used: %s", got)
	}
	if _, err := public(string(own), dir); err == nil || !strings.HasPrefix(err.Error(), "publisher.signing_key: ") {
		t.Errorf("a public key: %v", err)
	}
	// A damaged file is not replaced: it may be the only copy of the key that clients trust.
	testkit.Must(t, os.WriteFile(file, private[:200], 0o600))
	if _, err := public("", dir); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged key: %v", err)
	}
	if now := testkit.Value(os.ReadFile(file))(t); string(now) != string(private[:200]) {
		t.Error("the damaged key was replaced")
	}
}
