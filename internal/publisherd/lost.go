package publisherd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/connect"
	"github.com/rpmflow/rpmflow/internal/doctor"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
)

// errKeyLost means that repositories are signed, and that this publisher has no key.
var errKeyLost = errors.New("the signing key is missing, but repositories are signed with one")

const (
	maxKeyFile = 1 << 20 // of an object that is read to compare keys
	most       = 10_000  // projects, and targets of one
	compared   = 200     // repositories at most, so that doctor ends
)

// directories are those of all targets that may have repositories, PROJECT/TARGET.
func directories(ctx context.Context, repos storage.Repositories) (all []string, err error) {
	projects, _, err := repos.Directory(ctx, storage.RepositoriesPrefix, most)
	if err != nil {
		return nil, err
	}
	for _, project := range projects {
		if !strings.HasSuffix(project.Key, "/") {
			continue
		}
		targets, _, err := repos.Directory(ctx, project.Key, most)
		if err != nil {
			return nil, err
		}
		for _, target := range targets {
			if path, ok := strings.CutSuffix(target.Key, "/"); ok {
				all = append(all, strings.TrimPrefix(path, storage.RepositoriesPrefix))
			}
		}
	}
	return all, nil
}

// lostKey is an errKeyLost if a repository has a public key. A new key would be of no use: nothing could be published,
// and the message that one was made would hide that the other is gone.
func lostKey(ctx context.Context, cfg *config.Config, repos storage.Repositories) error {
	all, err := directories(ctx, repos)
	if err != nil {
		return err
	}
	for _, path := range all {
		project, _, _ := strings.Cut(path, "/")
		key := storage.RepositoriesPrefix + path + "/RPM-GPG-KEY-" + project
		_, version, err := repos.Read(ctx, key, maxKeyFile)
		if err != nil {
			return err
		}
		if version != "" {
			return hint.Add(fmt.Errorf("%w: such as %s", errKeyLost, path),
				fmt.Sprintf("put the copy of the key back into %s (mode 0600), or set publisher.signing_key_file; if "+
					"it is lost, do what docs/operations.md says under \"When the key is lost\"",
					filepath.Join(cfg.DataDir, KeyFile)))
		}
	}
	return nil
}

// checkRepositoryKeys compares the publisher's keys with the signatures of the repositories that there are.
func checkRepositoryKeys(cfg *config.Config) doctor.Check {
	return func(ctx context.Context, f *doctor.Findings) {
		const name = "key of repositories"
		signer, err := keys(cfg)
		if err != nil {
			f.Skip(name, "the signing key cannot be used")
			return
		}
		store, err := storage.Open(connect.S3(cfg, slog.New(slog.DiscardHandler)))
		if err != nil {
			f.Skip(name, "S3 cannot be asked")
			return
		}
		defer store.Close()
		ctx, cancel := context.WithTimeout(ctx, doctor.RequestLimit)
		defer cancel()
		repos := store.Repositories()
		if signer == nil {
			err = lostKey(ctx, cfg, repos)
		} else {
			err = compareKeys(ctx, signer.Keyring(), repos)
		}
		switch {
		case errors.Is(err, storage.ErrNoBucket):
			f.Skip(name, "there is no bucket yet")
		case errors.Is(err, errKeyLost), errors.Is(err, sign.ErrUnknownKey):
			f.Error(name, doctor.Failed, err)
		case err != nil: // S3 itself has a check
			f.Error(name, doctor.Warning, fmt.Errorf("cannot be compared: %w", err))
		case signer == nil:
			f.Skip(name, "no repository yet")
		default:
			f.OK(name, "the publisher has the keys with which repositories are signed")
		}
	}
}

// compareKeys fails if a repository is signed with another key than these.
func compareKeys(ctx context.Context, own sign.Keyring, repos storage.Repositories) error {
	all, err := directories(ctx, repos)
	if err != nil {
		return err
	}
	for _, path := range all[:min(len(all), compared)] {
		var signed [2][]byte
		for i, name := range []string{"repomd.xml.asc", "repomd.xml"} {
			signed[i], _, err = repos.Read(ctx, storage.RepositoriesPrefix+path+"/repodata/"+name, maxKeyFile)
			if err != nil {
				return err
			}
		}
		if len(signed[0]) == 0 { // it has no packages yet
			continue
		}
		// One that does not fit is between two publications, or rpmflow repo verify finds it.
		if _, err := own.Detached(signed[1], signed[0]); errors.Is(err, sign.ErrUnknownKey) {
			return hint.Add(fmt.Errorf("repository %s: %w, so nothing can be published", path, err),
				"give all publishers the same publisher.signing_key; after a change of the key it must have the "+
					"public half of the one before, too")
		}
	}
	return nil
}
