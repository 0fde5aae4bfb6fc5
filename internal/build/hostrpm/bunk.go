package hostrpm

import (
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

	"github.com/rpmflow/rpmflow/internal/lifeline"
)

// Users that packages of a program that runs as root are built as: neither systemd nor distributions give these numbers
// to anybody (systemd, "Users, Groups, UIDs and GIDs": 60578 to 61183 are unused), and they are below 65536, which is
// all that some containers have.
const (
	firstUser = 60600
	users     = 100
)

// bunk is a directory of one attempt, and a user whom nobody else has meanwhile: on this machine one user's attempts
// could read and kill each other's.
type bunk struct {
	dir   string // the user's own, and nobody else's
	user  lifeline.User
	base  string
	given int
	lock  *os.File // of base; it ends with the program
}

// newBunk takes the first user who is free. What an earlier attempt of theirs has left, whose program was killed, is
// removed.
func newBunk(parent string) (*bunk, error) {
	var errs []error
	for uid := firstUser; uid < firstUser+users; uid++ {
		if _, err := user.LookupId(strconv.Itoa(uid)); err == nil {
			continue // somebody's, after all
		}
		b := &bunk{user: lifeline.User{UID: uint32(uid), GID: uint32(uid)}, base: filepath.Join(parent,
			fmt.Sprintf("rpmflow-build-%d", uid))}
		err := b.take()
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, fmt.Errorf("none of the users %d to %d is free to build as: set builder.jobs to fewer, or "+
		"remove %s/rpmflow-build-*", firstUser, firstUser+users-1, parent))
	return nil, fmt.Errorf("engine rpmbuild: %w", errors.Join(errs[0], errs[len(errs)-1]))
}

func (b *bunk) take() (err error) {
	if err := os.Mkdir(b.base, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("directory to build in: %w", err)
	}
	fd, err := unix.Open(b.base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("directory to build in: %s: %w", b.base, err)
	}
	b.lock = os.NewFile(uintptr(fd), b.base)
	defer func() {
		if err != nil {
			err = errors.Join(err, b.lock.Close())
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("directory to build in: %s: %w", b.base, err)
	}
	if st.Uid != uint32(os.Geteuid()) || st.Mode&0o022 != 0 { // anybody may make directories there
		return fmt.Errorf("directory to build in: %s belongs to user %d: remove it", b.base, st.Uid)
	}
	// systemd-tmpfiles keeps away from what is locked, too
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock %s: %w", b.base, err)
	}
	b.dir = filepath.Join(b.base, "b")
	return errors.Join(b.enter(b.base), b.empty(), b.mkdir(b.dir)) // rpm opens each directory on the way
}

// empty removes all that is in the bunk.
func (b *bunk) empty() error {
	left, err := os.ReadDir(b.base)
	for _, d := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(b.base, d.Name())))
	}
	return err
}

// clear removes what is in the bunk and lets others have it.
func (b *bunk) clear() error {
	if b.lock == nil {
		return nil
	}
	err := errors.Join(b.empty(), b.lock.Close()) // the base stays: without it there would be a moment without lock
	b.lock = nil
	if err != nil {
		return fmt.Errorf("engine rpmbuild: %w", err)
	}
	return nil
}

// mkdir makes a directory of the user's in the bunk, before anything of theirs has run.
func (b *bunk) mkdir(path string) error {
	return errors.Join(os.MkdirAll(path, 0o700), os.Lchown(path, int(b.user.UID), int(b.user.GID)))
}

// give copies a file, or a directory of files, to where the user can read it, and gives its new path. Times and modes
// stay, as rpmbuild writes both into source packages. The directories are not the user's: what was run before cannot
// have put a link in their place.
func (b *bunk) give(from string) (string, error) {
	b.given++ // the same paths in each attempt: rpm expands them into packages
	into := filepath.Join(b.base, fmt.Sprintf("in-%d", b.given))
	if err := os.Mkdir(into, 0o700); err != nil {
		return "", err
	}
	err := b.enter(into)
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
			return errors.Join(os.Mkdir(place, 0o700), b.enter(place))
		}
		info, err := os.Stat(path) // what a link names is what rpmbuild reads
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		return errors.Join(copyFile(path, place, info.Mode().Perm()), os.Chtimes(place, info.ModTime(), info.ModTime()),
			os.Lchown(place, int(b.user.UID), int(b.user.GID)))
	}))
}

// enter lets the user look into a directory, and nobody else but root.
func (b *bunk) enter(dir string) error {
	return errors.Join(os.Lchown(dir, os.Geteuid(), int(b.user.GID)), os.Chmod(dir, 0o750))
}

// fetch copies what the user's processes have left, all of which have ended, out of the bunk: only regular files of
// their own.
func (b *bunk) fetch(from, to string) error {
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
	if !info.Mode().IsRegular() || !ok || st.Uid != b.user.UID {
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
