package publisherd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/machine"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// KeyFile is where the key is that the publisher makes, below data_dir.
const KeyFile = "signing-key.asc"

// KeyName is what tools show of a key that was made here.
const KeyName = "rpmflow packages"

// expiresSoon is how long before its end a key is to be replaced.
const expiresSoon = 30 * 24 * time.Hour

var errNoKey = errors.New("the signing key is missing")

func noKey(string) ([]byte, error) { return nil, errNoKey }

// signer has the configured keys, or those in data_dir. missing decides what happens if there are none.
func (p *Program) signer(missing func(file string) ([]byte, error)) (*sign.Signer, error) {
	configured := p.Config.Publisher
	text, from := []byte(configured.SigningKey), "publisher.signing_key"
	var command []string
	if configured.SigningCommand != "" {
		if len(text) == 0 {
			return nil, hint.Add(errors.New("publisher.signing_command: the public half of its key is not there"),
				"set publisher.signing_key_file to a file with it (gpg --export --armor KEY)")
		}
		command = []string{configured.SigningCommand}
	}
	if len(text) == 0 {
		from = filepath.Join(p.Config.DataDir, KeyFile)
		var err error
		text, err = sign.ReadFile(from)
		if errors.Is(err, fs.ErrNotExist) {
			text, err = missing(from)
		}
		if err != nil {
			return nil, err
		}
	}
	signer, err := sign.ParseSigner(text, command...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return signer, nil
}

// runnable fails if the signing command is not there. Programs that only read repositories do not need it.
func (p *Program) runnable() error {
	command := p.Config.Publisher.SigningCommand
	if command == "" {
		return nil
	}
	if _, err := exec.LookPath(command); err != nil {
		return hint.Add(fmt.Errorf("publisher.signing_command: %w", err), "name a program that the publisher may run")
	}
	return nil
}

// describe logs which keys are used.
func (p *Program) describe(signer *sign.Signer) {
	keys := signer.Keys()
	args := []any{"fingerprint", keys[0].Fingerprint()}
	if others := fingerprints(keys[1:]); len(others) > 0 {
		args = append(args, "other keys", strings.Join(others, " "))
	}
	if p.Config.Publisher.SigningCommand != "" {
		args = append(args, "command", p.Config.Publisher.SigningCommand)
	}
	p.Log.Info("packages and repositories are signed", args...)
	if end := keys[0].Expires(); !end.IsZero() && time.Until(end) < expiresSoon {
		p.Log.Warn("the signing key expires soon, and nothing can be published then: extend it or change the key",
			"fingerprint", keys[0].Fingerprint(), "expires", end.UTC().Format(time.RFC3339))
	}
}

func fingerprints(keys []*sign.Key) (all []string) {
	for _, k := range keys {
		all = append(all, k.Fingerprint())
	}
	return all
}

func (p *Program) generate(file string) ([]byte, error) {
	private, _, err := sign.Generate(sign.RSA4096, KeyName, "")
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	if err := writeNew(file, private); err != nil {
		return nil, fmt.Errorf("keep the signing key: %w", err)
	}
	p.Log.Info("a signing key was made: make a copy of it, packages cannot be signed with it again without",
		"file", file)
	return sign.ReadFile(file)
}

// writeNew makes a file that only the owner may read: complete or not at all, and never over one that is there.
func writeNew(name string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), name); errors.Is(err, fs.ErrExist) {
		return nil // another program has made one meanwhile
	}
	return err
}

// CheckKey fails if the configured keys cannot be used. To have none is not a mistake: the publisher makes one.
func CheckKey(cfg *config.Config) error {
	_, err := keys(cfg)
	return err
}

// keys are those of a configuration; nil: there are none yet.
func keys(cfg *config.Config) (*sign.Signer, error) {
	p := Program{Config: cfg, Log: slog.New(slog.DiscardHandler)}
	signer, err := p.signer(noKey)
	if errors.Is(err, errNoKey) {
		return nil, nil
	}
	return signer, err
}

// Check reports about the signing key, and has it sign something.
func Check(cfg *config.Config) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		const name = "signing key"
		signer, err := keys(cfg)
		if signer != nil {
			limited, cancel := context.WithTimeout(ctx, doctor.RequestLimit)
			defer cancel()
			_, err = signer.Detached(limited, []byte("doctor"))
		}
		switch {
		case err != nil:
			f.Error(name, doctor.Failed, err)
			return
		case signer == nil:
			f.Skip(name, "there is none yet: the publisher makes one when it starts")
			return
		}
		all := fingerprints(signer.Keys())
		if end := signer.Keys()[0].Expires(); !end.IsZero() && time.Until(end) < expiresSoon {
			f.Add(name, doctor.Warning, fmt.Sprintf("%s expires at %s", all[0], end.UTC().Format(time.RFC3339)),
				"extend it, or change the key: nothing can be published after that")
			return
		}
		f.OK(name, "%s signs; other keys: %d", all[0], len(all)-1)
	}
}

// Checks are those of what a publisher with this configuration needs.
func Checks(cfg *config.Config) []doctor.Check {
	access := connect.NATS(cfg, "rpmflow doctor")
	access.Role = rpmflow.RolePublisher
	s3 := connect.S3(cfg, slog.New(slog.DiscardHandler))
	return []doctor.Check{
		cfg.Check,
		machine.CheckDataDir(cfg.DataDir, func(context.Context) error { return machine.CheckSpace(cfg.DataDir) }),
		Check(cfg),
		access.Check,
		storage.Check(s3, false),
		storage.CheckRepositories(s3),
		checkRepositoryKeys(cfg),
		checkStatus(cfg),
	}
}
