package publisherd

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage/storagetest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

func TestMain(m *testing.M) {
	storagetest.Main()
	os.Exit(m.Run())
}

// TestWaysToGiveKeys gives the keys in the environment, in a variable that it names, and in a file. They are shown
// nowhere.
func TestWaysToGiveKeys(t *testing.T) {
	t.Parallel()
	private, _, err := sign.Generate(sign.Ed25519, "first", "")
	testkit.Must(t, err)
	_, next, err := sign.Generate(sign.Ed25519, "next", "")
	testkit.Must(t, err)
	text := string(private) + string(next)
	file := testkit.Write(t, filepath.Join(t.TempDir(), "keys.asc"), text)
	for _, env := range [][]string{
		{"RPMFLOW_PUBLISHER_SIGNING_KEY=" + text},
		{"RPMFLOW_PUBLISHER_SIGNING_KEY_ENV=KEYS", "KEYS=" + text},
		{"RPMFLOW_PUBLISHER_SIGNING_KEY_FILE=" + file},
	} {
		env = append(env, "RPMFLOW_DATA_DIR="+t.TempDir())
		cfg := testkit.Value(config.Load(config.Source{Env: env, For: config.ForPublisher}))(t)
		signer := testkit.Value(keys(cfg))(t)
		if signer == nil || len(signer.Keys()) != 2 {
			t.Errorf("%.50s: the keys are not used", env[0])
		}
		var shown bytes.Buffer
		testkit.Must(t, config.WriteEffective(&shown, cfg))
		fmt.Fprintf(&shown, "%v %+v %#v", cfg, cfg, cfg.Publisher)
		var log testkit.Log
		p := Program{Config: cfg, Log: log.Logger()}
		p.describe(signer)
		if !strings.Contains(log.String(), signer.Keys()[1].Fingerprint()) {
			t.Errorf("the log: %s", log.String())
		}
		shows(t, shown.String()+log.String(), text)
		other := testkit.Value(config.Load(config.Source{Env: env, For: config.ForBuilder}))(t)
		if other.Publisher.SigningKey != "" {
			t.Error("a builder gets the key")
		}
	}
}

// shows fails if a line of a key is in what is shown.
func shows(t *testing.T, shown, key string) {
	t.Helper()
	for line := range strings.Lines(key) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") &&
			strings.Contains(shown, line) {
			t.Errorf("the key is shown: %s", shown)
		}
	}
}

// expiring is a private key that expires after a time.
func expiring(t *testing.T, after time.Duration) string {
	t.Helper()
	e := testkit.Value(openpgp.NewEntity("test", "", "", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA,
		KeyLifetimeSecs: uint32(after.Seconds())}))(t)
	var b bytes.Buffer
	w := testkit.Value(armor.Encode(&b, openpgp.PrivateKeyType, nil))(t)
	testkit.Must(t, e.SerializePrivateWithoutSigning(w, nil))
	testkit.Must(t, w.Close())
	return b.String()
}

// TestCheckedKeys is what `rpmflow config check`, doctor and the start of a publisher find.
func TestCheckedKeys(t *testing.T) {
	t.Parallel()
	private, public, err := sign.Generate(sign.Ed25519, "test", "")
	testkit.Must(t, err)
	damaged := strings.Replace(string(private), string(private[150:160]), "AAAAAAAAAA", 1)
	dir := t.TempDir()
	program := testkit.Write(t, filepath.Join(dir, "sign"), "#!/bin/sh\necho no token >&2\nexit 1\n")
	testkit.Must(t, os.Chmod(program, 0o700))
	for name, test := range map[string]struct {
		key, command, file string
		check, doctor      string // what they find; of check "" is nothing
		state              doctor.State
	}{
		"none":         {doctor: "none yet", state: doctor.Skipped},
		"good":         {key: string(private), doctor: "other keys: 0", state: doctor.OK},
		"file":         {file: string(private) + string(public), doctor: "other keys: 1", state: doctor.OK},
		"expires soon": {key: expiring(t, time.Hour), doctor: "expires at", state: doctor.Warning},
		"public": {key: string(public), check: "public half", doctor: "public half",
			state: doctor.Failed},
		"damaged": {key: damaged, check: "publisher.signing_key: signing key", doctor: "can be read",
			state: doctor.Failed},
		"damaged file": {file: damaged, check: KeyFile + ": signing key", doctor: "can be read", state: doctor.Failed},
		"command without a key": {command: program, check: "set publisher.signing_key_file", doctor: "public half",
			state: doctor.Failed},
		"command with a private key": {key: string(private), command: program, check: "private one",
			doctor: "private one", state: doctor.Failed},
		"command that fails": {key: string(public), command: program, doctor: "no token", state: doctor.Failed},
		"command that is missing": {key: string(public), command: "/nosuch/sign", doctor: "/nosuch/sign",
			state: doctor.Failed},
	} {
		cfg := &config.Config{DataDir: t.TempDir()}
		cfg.Publisher.SigningKey, cfg.Publisher.SigningCommand = config.Secret(test.key), test.command
		if test.file != "" {
			testkit.Must(t, os.WriteFile(filepath.Join(cfg.DataDir, KeyFile), []byte(test.file), 0o600))
		}
		err := CheckKey(cfg)
		if (err == nil) != (test.check == "") || err != nil && !strings.Contains(err.Error(), test.check) {
			t.Errorf("%s: check: %v", name, err)
		}
		report := doctor.Examine(t.Context(), "", func() ([]doctor.Check, error) {
			return []doctor.Check{Check(cfg)}, nil
		})
		got := report.Checks[0]
		if got.State != test.state || !strings.Contains(got.Found+got.Do, test.doctor) {
			t.Errorf("%s: doctor: %+v", name, got)
		}
		if got.State == doctor.Failed && got.Do == "" && test.command == "" {
			t.Errorf("%s: doctor does not say what to do: %+v", name, got)
		}
		shows(t, fmt.Sprint(err, got), test.key+test.file)
		_, err = os.Stat(filepath.Join(cfg.DataDir, KeyFile))
		if test.file == "" && err == nil {
			t.Errorf("%s: a check has made a key", name)
		}
	}
	missing := Program{Config: &config.Config{}}
	missing.Config.Publisher.SigningCommand = "/nosuch/sign"
	if err := missing.runnable(); err == nil || !strings.Contains(err.Error(), "name a program") {
		t.Errorf("the start with a command that is missing: %v", err)
	}
}
