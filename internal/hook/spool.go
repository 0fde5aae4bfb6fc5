package hook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/rpmflow/rpmflow/internal/dirlock"
	"github.com/rpmflow/rpmflow/internal/forge"
)

const (
	// maxWaiting bounds the spool: a push has some hundred bytes of it.
	maxWaiting = 1000
	// maxRejected bounds what is kept of refused deliveries; the oldest go.
	maxRejected = 1000
	// addWait is how long one may wait for another that writes to the spool, and turnWait for one that delivers.
	addWait, turnWait = 5 * time.Second, 10 * time.Second
)

var errFull = fmt.Errorf("the spool is full (%d pushes wait)", maxWaiting)

// spool keeps deliveries in files, in the order in which they came: rpmflow/waiting/NUMBER.json below git's own
// directory. One lock is held for the moment in which one is written, another while they are sent, so that pushing
// waits for no other's delivery.
type spool struct {
	dir string
	git string // whose rights new files get
}

func openSpool(gitDir string) spool { return spool{dir: filepath.Join(gitDir, "rpmflow"), git: gitDir} }

func (s spool) waiting() string  { return filepath.Join(s.dir, "waiting") }
func (s spool) rejected() string { return filepath.Join(s.dir, "rejected") }

// entry is one that waits.
type entry struct {
	number uint64
	file   string
}

// prepare makes the directories, for those who may write to the repository: a group shares it where its objects are the
// group's.
func (s spool) prepare() (fs.FileMode, error) {
	mode := fs.FileMode(0o700)
	if info, err := os.Stat(filepath.Join(s.git, "objects")); err == nil {
		mode = info.Mode().Perm() & 0o770
		mode |= info.Mode() & fs.ModeSetgid
	}
	for _, dir := range []string{s.dir, s.waiting(), s.rejected()} {
		err := os.Mkdir(dir, 0o700)
		if err == nil {
			err = os.Chmod(dir, mode)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return 0, fmt.Errorf("spool: %w", err)
		}
	}
	return mode.Perm() & 0o660, nil
}

// lock takes a lock file, which those who may write to the repository share.
func (s spool) lock(ctx context.Context, name string, mode fs.FileMode, wait time.Duration) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_RDWR|os.O_CREATE, mode) // #nosec G304 -- a name of ours
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	_ = f.Chmod(mode) // only its owner may, who has done it before
	if err := dirlock.Lock(ctx, f, dirlock.Exclusive, wait); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("spool: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// list returns what waits, oldest first. A file whose name is not a number was being written when its process was
// killed.
func (s spool) list() ([]entry, error) { return entriesOf(s.waiting()) }

func entriesOf(dir string) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var all []entry
	for _, f := range files {
		number, ok := strings.CutSuffix(f.Name(), ".json")
		if n, err := strconv.ParseUint(number, 10, 64); ok && err == nil {
			all = append(all, entry{n, filepath.Join(dir, f.Name())})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	return all, nil
}

// add writes a delivery behind all others, so that it is on disk when add returns.
func (s spool) add(d forge.GenericDelivery) error {
	mode, err := s.prepare()
	if err != nil {
		return err
	}
	unlock, err := s.lock(context.Background(), "lock", mode, addWait)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := s.list()
	if err != nil {
		return err
	}
	if len(entries) >= maxWaiting {
		return errFull
	}
	next, err := s.next(entries)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return s.write(filepath.Join(s.waiting(), fmt.Sprintf("%012d.json", next)), raw, mode)
}

// next is a number behind all that wait and all that were rejected, which may come back.
func (s spool) next(entries []entry) (uint64, error) {
	last := uint64(0)
	if len(entries) > 0 {
		last = entries[len(entries)-1].number
	}
	set, err := entriesOf(s.rejected())
	if len(set) > 0 {
		last = max(last, set[len(set)-1].number)
	}
	return last + 1, err
}

// write puts a whole file in its place, durably, or none.
func (s spool) write(name string, content []byte, mode fs.FileMode) error {
	if err := replace(name, content, mode); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return syncDir(filepath.Dir(name))
}

// replace writes a whole file, or none.
func replace(name string, content []byte, mode fs.FileMode) error {
	return renameio.WriteFile(name, content, mode, renameio.WithStaticPermissions(mode),
		renameio.WithTempDir(filepath.Dir(name)))
}

func syncDir(name string) error {
	d, err := os.Open(name) // #nosec G304 -- a directory of ours
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	err = errors.Join(d.Sync(), d.Close())
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// reject sets a delivery aside that the listener will not take, with its answer, and drops the oldest of too many.
func (s spool) reject(e entry) error {
	if err := os.Rename(e.file, filepath.Join(s.rejected(), filepath.Base(e.file))); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	files, err := os.ReadDir(s.rejected())
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, f := range files[:max(len(files)-maxRejected, 0)] { // names sort as numbers do
		_ = os.Remove(filepath.Join(s.rejected(), f.Name())) // the next one does it then
	}
	return nil
}

// takeBack puts what was rejected into the spool again, where it was. It has the lock of those who add: a push that is
// kept meanwhile could take the number of one that is neither here nor there, and be overwritten.
func (s spool) takeBack(ctx context.Context) error {
	if files, err := os.ReadDir(s.rejected()); len(files) == 0 && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		return nil
	}
	mode, err := s.prepare()
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, "lock", mode, addWait)
	if err != nil {
		return err
	}
	defer unlock()
	files, err := os.ReadDir(s.rejected())
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, f := range files {
		if err := os.Rename(filepath.Join(s.rejected(), f.Name()), filepath.Join(s.waiting(), f.Name())); err != nil {
			return fmt.Errorf("spool: %w", err)
		}
	}
	return nil
}

// deliver sends what waits until nothing does or the listener cannot be reached. Mine are those of the push that is
// being answered.
func (s spool) deliver(ctx context.Context, to *sender, w *words, mine map[string]bool) error {
	entries, err := s.list()
	if err != nil || len(entries) == 0 {
		return err
	}
	mode, err := s.prepare()
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, "delivering", mode, turnWait)
	if errors.Is(err, dirlock.ErrBusy) {
		w.say("another push is still being announced: this one is kept and follows it")
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	for { // what others have added meanwhile is sent, too
		if entries, err = s.list(); err != nil || len(entries) == 0 {
			return err
		}
		for i, e := range entries {
			res, err := s.one(ctx, e, to, w, mine)
			if err != nil {
				return err
			}
			if res.verdict == unreachable {
				w.kept(res, len(entries)-i)
				return nil
			}
		}
	}
}

// one sends an entry and takes it out of the spool if that has an answer.
func (s spool) one(ctx context.Context, e entry, to *sender, w *words, mine map[string]bool) (result, error) {
	raw, err := os.ReadFile(e.file)
	if errors.Is(err, fs.ErrNotExist) {
		return result{}, nil
	}
	if err != nil {
		return result{}, fmt.Errorf("spool: %w", err)
	}
	var d forge.GenericDelivery
	if err := json.Unmarshal(raw, &d); err != nil || d.Ref == "" {
		w.say("%s cannot be read and is set aside: %v", e.file, err)
		return result{}, s.reject(e)
	}
	res := to.send(ctx, d)
	switch res.verdict {
	case delivered:
		w.answer(d, res, !mine[d.Delivery])
		if err := os.Remove(e.file); err != nil { // it would be sent again, and be called a duplicate
			return res, fmt.Errorf("spool: %w", err)
		}
		return res, syncDir(s.waiting())
	case refused:
		err := s.reject(e)
		w.rejected(d, res, s.rejected())
		return res, err
	}
	return res, nil
}
