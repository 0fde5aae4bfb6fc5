package hostrpm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/lifeline"
)

// Users that packages of a program that runs as root are built as: neither systemd nor distributions give these numbers
// to anybody (systemd, "Users, Groups, UIDs and GIDs": 60578 to 61183 are unused), and they are below 65536, which is
// all that some containers have.
const (
	firstUser = 60600
	users     = 100
)

// account is an unprivileged user and a directory for one attempt alone: on one machine, attempts of the
// same user could read and kill each other's processes and files.
type account struct {
	dir   string // for this user only
	user  lifeline.User
	base  string
	given int
	lock  *os.File // of base; it ends with the program
}

// newAccount claims the first free user. What an earlier attempt with this user has left, because its program was
// killed, is removed.
func newAccount(parent string) (*account, error) {
	var errs []error
	for uid := firstUser; uid < firstUser+users; uid++ {
		if _, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			continue // the machine has such a user
		}
		a := &account{
			user: lifeline.User{UID: uint32(uid), GID: uint32(uid)},
			base: filepath.Join(parent, fmt.Sprintf("rpmflow-build-%d", uid)),
		}
		err := a.claim()
		if err == nil {
			return a, nil
		}
		if !errors.Is(err, dirlock.ErrBusy) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, fmt.Errorf("none of the users %d to %d is free to build as: set builder.jobs to fewer, or "+
		"remove %s/rpmflow-build-*", firstUser, firstUser+users-1, parent))
	return nil, fmt.Errorf("engine rpmbuild: %w", errors.Join(errs[0], errs[len(errs)-1]))
}

func (a *account) claim() (err error) {
	if err := os.Mkdir(a.base, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("directory to build in: %w", err)
	}
	fd, err := unix.Open(a.base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("directory to build in: %s: %w", a.base, err)
	}
	a.lock = os.NewFile(uintptr(fd), a.base)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.lock.Close())
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("directory to build in: %s: %w", a.base, err)
	}
	if st.Uid != uint32(os.Geteuid()) || st.Mode&0o022 != 0 { // anybody may make directories there
		return fmt.Errorf("directory to build in: %s belongs to user %d: remove it", a.base, st.Uid)
	}
	// systemd-tmpfiles does not clean up what is locked, either.
	if err := dirlock.Lock(context.Background(), a.lock, dirlock.Exclusive, 0); err != nil {
		return err
	}
	a.dir = filepath.Join(a.base, "b")
	return errors.Join(a.allow(a.base), a.empty(), a.mkdir(a.dir)) // rpm opens each directory on the way
}

// empty removes all that is in the directory.
func (a *account) empty() error {
	left, err := os.ReadDir(a.base)
	for _, d := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(a.base, d.Name())))
	}
	return err
}

// release removes what is in the directory and frees the account.
func (a *account) release() error {
	if a.lock == nil {
		return nil
	}
	err := errors.Join(a.empty(), a.lock.Close()) // the base stays: if it were removed, two programs could lock it
	a.lock = nil
	if err != nil {
		return fmt.Errorf("engine rpmbuild: %w", err)
	}
	return nil
}

// mkdir makes a directory of the user's, before anything of the attempt has run.
func (a *account) mkdir(path string) error {
	return errors.Join(os.MkdirAll(path, 0o700), os.Lchown(path, int(a.user.UID), int(a.user.GID)))
}

// copyIn copies a file, or a directory of files, to where the user can read it, and returns its new path. Times and
// modes stay, as rpmbuild writes both into source packages. The directories are not the user's: code that ran before
// cannot have put a link in their place.
func (a *account) copyIn(from string) (string, error) {
	a.given++ // the same paths in each attempt: rpm expands them into packages
	into := filepath.Join(a.base, fmt.Sprintf("in-%d", a.given))
	if err := os.Mkdir(into, 0o700); err != nil {
		return "", err
	}
	err := a.allow(into)
	to := filepath.Join(into, filepath.Base(from))
	return to, errors.Join(err, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		place := filepath.Join(to, rel)
		if d.IsDir() {
			return errors.Join(os.Mkdir(place, 0o700), a.allow(place))
		}
		info, err := os.Stat(path) // what a link names is what rpmbuild reads
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		return errors.Join(copyFile(path, place, info.Mode().Perm()), os.Chtimes(place, info.ModTime(), info.ModTime()),
			os.Lchown(place, int(a.user.UID), int(a.user.GID)))
	}))
}

// allow lets only the user and root read a directory.
func (a *account) allow(dir string) error {
	return errors.Join(os.Lchown(dir, os.Geteuid(), int(a.user.GID)), os.Chmod(dir, 0o750))
}

// copyOut copies what the user's processes, which have ended, have left: only regular files of their own.
func (a *account) copyOut(from, to string) error {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.Mode().IsRegular() || !ok || st.Uid != a.user.UID {
		return fmt.Errorf("%s is not a file of the build's own", from)
	}
	return copyTo(in, to, 0o600)
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	return copyTo(in, to, mode)
}

func copyTo(in io.Reader, to string, mode fs.FileMode) (err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Chmod(mode)
}
