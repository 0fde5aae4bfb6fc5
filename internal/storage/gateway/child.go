package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/lifeline"
)

// ChildName is what Child is called in lifeline.Main's map.
const ChildName = "s3"

const (
	codeInUse = 98 // EADDRINUSE's number; every other failure is 1

	objectsDir  = "objects"  // buckets are directories, objects are files
	metadataDir = "metadata" // what belongs in extended attributes, if the file system has none
	lockFile    = "lock"

	// lockLimit is how long a start waits for the former gateway on the directory, which may be about to die.
	lockLimit = 3 * time.Second

	maxConnections = 4096
	maxRequests    = 2048
	maxParts       = 10000   // S3's own limit
	maxCopy        = 5 << 30 // S3's own limit for one CopyObject; without it every copy is refused
)

// childSettings is what the parent passes to the child, on its stdin.
type childSettings struct {
	Dir, Listen, AccessKey, SecretKey, Region string
	CertFile, KeyFile, HealthPath             string
	Bucket                                    string
	Policy                                    []byte
	Accounts                                  map[string]string
	Ready                                     string // the line that says on stdout that the child listens
}

// Child is the gateway's process: put it under ChildName into lifeline.Main's map.
func Child(ctx context.Context, _ []string) error {
	var s childSettings
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return fmt.Errorf("read settings from stdin: %w", err)
	}
	unlock, err := prepare(ctx, s.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	backend, err := openBackend(s.Dir)
	if err != nil {
		return err
	}
	iam := newAccounts(s)
	if s.Bucket != "" {
		if err := backend.ensureBucket(ctx, s, iam); err != nil {
			return err
		}
	}
	err = embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess:    s.AccessKey,
		RootUserSecret:    s.SecretKey,
		IAMService:        iam,
		Region:            s.Region,
		Ports:             []string{s.Listen},
		CertFile:          s.CertFile,
		KeyFile:           s.KeyFile,
		MaxConnections:    maxConnections,
		MaxRequests:       maxRequests,
		MultipartMaxParts: maxParts,
		HealthPath:        s.HealthPath,
		KeepAlive:         true,
		Quiet:             true,
		S3Options: []s3api.Option{
			// The accounts are those of the settings: there is nothing to administer.
			func(server *s3api.S3ApiServer) { server.Router.WithAdmSrv = false },
			// without its parent the child ends anyway
			s3api.WithOnListen(func() { _, _ = fmt.Fprintln(os.Stdout, s.Ready) }),
		},
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return &lifeline.ExitError{Code: codeInUse, Err: err}
	}
	return err
}

// prepare makes the directory and takes it for this process.
func prepare(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Join(dir, objectsDir), 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := dirlock.Open(ctx, filepath.Join(dir, lockFile), dirlock.Exclusive, lockLimit)
	if errors.Is(err, dirlock.ErrBusy) {
		return nil, fmt.Errorf("another gateway uses the data directory %s: end it, or use another directory", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data directory %s: %w", dir, err)
	}
	// The directories must survive a power cut before the first object is acknowledged.
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := syncPath(d); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	return func() { _ = lock.Close() }, nil
}

func openBackend(dir string) (*durable, error) {
	objects, metadata := filepath.Join(dir, objectsDir), filepath.Join(dir, metadataDir)
	options := posix.PosixOpts{CopyObjectThreshold: maxCopy, ValidateBucketNames: true}
	options.SetNewDirPerm(0o700)
	options.SetNewFilePerm(0o600)

	// A directory that began with files for its metadata stays with them, wherever it is copied to.
	var store meta.MetadataStorer = meta.XattrMeta{}
	switch _, err := os.Stat(metadata); {
	case err == nil:
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	default:
		reason := tryXattr(objects)
		if reason == nil {
			metadata = ""
			break
		}
		fmt.Fprintf(os.Stderr, "no extended attributes in %s (%v): metadata is kept in %s\n", objects, reason, metadata)
		if err := os.Mkdir(metadata, 0o700); err != nil {
			return nil, fmt.Errorf("make the metadata directory: %w", err)
		}
	}
	if metadata != "" {
		sidecar, err := meta.NewSideCar(metadata)
		if err != nil {
			return nil, fmt.Errorf("open the metadata directory %s: %w", metadata, err)
		}
		store = sidecar
	}
	disk, err := posix.New(objects, store, options)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	return &durable{Posix: disk, objects: objects, metadata: metadata}, nil
}

// tryXattr returns why files in dir cannot have extended attributes of their own.
func tryXattr(dir string) error {
	const name = "user.rpmflow.probe"
	if err := unix.Setxattr(dir, name, []byte("1"), 0); err != nil {
		return err
	}
	return unix.Removexattr(dir, name)
}
