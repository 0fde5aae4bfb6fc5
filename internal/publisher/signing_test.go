package publisher_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/rpmfile/rpmtest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// TestExpiredKey changes a key that has expired: what it has signed is signed by another.
func TestExpiredKey(t *testing.T) {
	t.Parallel()
	s := start(t)
	url := s.web(t)
	files := many(t, 1)
	ago := func() time.Time { return time.Now().Add(-48 * time.Hour) }
	e := testkit.Value(openpgp.NewEntity("test", "", "", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA,
		Time: ago}))(t)
	text := func() string {
		var b bytes.Buffer
		w := testkit.Value(armor.Encode(&b, openpgp.PrivateKeyType, nil))(t)
		testkit.Must(t, e.SerializePrivateWithoutSigning(w, nil))
		testkit.Must(t, w.Close())
		return b.String()
	}
	_, stop := run(t, s.signing(t, url, text()))
	s.finish(t, "first", files[0])
	s.published(t, 1)
	stop()
	known := newMachine(t, url, binary)
	known.installs(t, "p00")

	lifetime := uint32(3600)
	for _, id := range e.Identities {
		id.SelfSignature.KeyLifetimeSecs = &lifetime
		testkit.Must(t, id.SelfSignature.SignUserId(id.Name, e.PrimaryKey, e.PrivateKey, nil))
	}
	if _, err := sign.ParseSigner([]byte(text())); err == nil || !strings.Contains(err.Error(), "it expired at") {
		t.Errorf("the key is not seen as expired: %v", err)
	}
	p := testkit.Value(publisher.New(s.signing(t, url, newPair(t).private+text())))(t)
	if _, n, err := p.Sign(t.Context(), binary); err != nil || n != 1 {
		t.Errorf("%d packages were signed again: %v", n, err)
	}
	known.dnf(t, true, "--assumeyes", "--refresh", "reinstall", "p00")
	newMachine(t, url, binary).installs(t, "p00")
}

// TestSigningCommand publishes with a key that only gpg has.
func TestSigningCommand(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skipf("needs gpg: %v", err)
	}
	home := testkit.Value(os.MkdirTemp("", "gpg"))(t) // short: there is a socket in it
	gpg := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch"}, args...)...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("gpg %v: %v: %s", args, err, errs.String())
		}
		return string(out)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		testkit.Must(t, os.RemoveAll(home))
	})
	gpg("--passphrase", "", "--quick-generate-key", "packages@example.com", "rsa3072", "sign", "never")
	public := gpg("--export", "--armor", "packages@example.com")
	program := testkit.Write(t, filepath.Join(t.TempDir(), "sign"), fmt.Sprintf(
		"#!/bin/sh\n[ ! -e %[1]s/away ] || { echo token not present >&2; exit 2; }\n"+
			"exec gpg --homedir %[1]s --batch --detach-sign --local-user packages@example.com\n", home))
	testkit.Must(t, os.Chmod(program, 0o700))

	s := start(t)
	url := s.web(t)
	var log testkit.Log
	o := s.signing(t, url, public, program)
	o.Log = log.Logger()
	away := testkit.Write(t, filepath.Join(home, "away"), "")
	p, _ := run(t, o)
	s.finish(t, "first", binaries(rpms(t, "hello", "1"))...)
	log.Until(t, "token not present") // the build waits for it
	testkit.Must(t, os.Remove(away))
	s.published(t, 1)
	valid(t, p, publisher.Binary)
	newMachine(t, url, binary).installs(t, "hello")
}

// TestPackagesOfOldRPM publishes what the rpm of EL 7 makes. dnf installs it, with all signatures checked.
func TestPackagesOfOldRPM(t *testing.T) {
	t.Parallel()
	s := start(t)
	url := s.web(t)
	p, _ := run(t, s.signing(t, url, newPair(t).private))
	place := publisher.Place{Project: "demo", Target: "centos-7-x86_64"}
	file := binaries(rpms(t, "hello", "1"))[0]
	testkit.Must(t, os.WriteFile(file, rpmtest.Old(testkit.Value(os.ReadFile(file))(t)), 0o600))
	s.finishAs(t, "first", func(b *rpmflow.Build) { b.Target = place.Target }, file)
	testkit.Until(t, func() error {
		res, err := http.Get(newMachine(t, url, place).repo)
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", res.StatusCode)
			}
		}
		return err
	})
	newMachine(t, url, place).installs(t, "hello")
	for _, f := range testkit.Value(p.Verify(t.Context(), place))(t).Findings {
		t.Errorf("%s: %s", f.Key, f.Wrong)
	}
}
