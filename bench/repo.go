package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/rpmfile/rpmtest"
)

// repoRounds is how often each side adds a package to a repository; the best counts.
const repoRounds = 3

// repoFigures are of one publication: seconds, and bytes.
type repoFigures struct {
	CPU, Wall float64
	Memory    int64 // KiB, of this program's side
	Moved     int64 // of metadata and state to be stored
}

func (f repoFigures) best(g repoFigures, round int) repoFigures {
	if round == 0 {
		return g
	}
	return repoFigures{min(f.CPU, g.CPU), min(f.Wall, g.Wall), max(f.Memory, g.Memory), g.Moved}
}

// repoAlone compares adding one package to repositories of several sizes with createrepo_c --update, if it is there.
func repoAlone(ctx context.Context, sizes string) error {
	fmt.Printf("adding one package to a repository, the best of %d rounds; memory: the most, 0 is not measured\n",
		repoRounds)
	fmt.Printf("  %8s %-14s %8s %8s %8s %10s\n", "packages", "", "CPU s", "wall s", "MiB", "MiB moved")
	for size := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		if err := repoOf(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func repoOf(ctx context.Context, n int) error {
	dir, err := os.MkdirTemp("", "rpmflow-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	theirs := filepath.Join(dir, "theirs")
	var list strings.Builder
	put := func(i int) error {
		name := fmt.Sprintf("p%06d-1-1.x86_64.rpm", i)
		fmt.Fprintln(&list, name)
		return os.WriteFile(filepath.Join(theirs, name), benchPackage(i), 0o600)
	}
	if err := os.MkdirAll(theirs, 0o755); err != nil {
		return err
	}
	for i := range n {
		if err := put(i); err != nil {
			return err
		}
	}
	_, missing := exec.LookPath("createrepo_c")
	createrepo := func(args ...string) (f repoFigures, err error) {
		if missing != nil {
			return f, nil
		}
		return measured(exec.CommandContext(ctx, "createrepo_c", append(append([]string{"--quiet", "--no-database",
			"--workers=1"}, args...), theirs)...))
	}
	if _, err := createrepo(); err != nil {
		return err
	}
	if err := firstRevision(dir, n); err != nil {
		return err
	}
	var ours, plain repoFigures
	for i := range repoRounds { // in turns, so that the machine's moods are shared
		if err := put(n + i); err != nil {
			return err
		}
		file := filepath.Join(dir, "list")
		if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
			return err
		}
		f, err := createrepo("--update", "--skip-stat", "--recycle-pkglist", "--pkglist", file)
		if err != nil {
			return err
		}
		if missing == nil {
			if f.Moved, err = sizeOf(filepath.Join(theirs, "repodata")); err != nil {
				return err
			}
		}
		plain = plain.best(f, i)
		self, err := os.Executable()
		if err != nil {
			return err
		}
		f, err = measured(exec.CommandContext(ctx, self, "-repo-child",
			dir+" "+filepath.Join(theirs, fmt.Sprintf("p%06d-1-1.x86_64.rpm", n+i))))
		if err != nil {
			return err
		}
		if f.Moved, err = sizeOf(filepath.Join(dir, "ours")); err != nil {
			return err
		}
		ours = ours.best(f, i)
	}
	row := func(who string, f repoFigures) {
		fmt.Printf("  %8d %-14s %8.3f %8.3f %8.1f %10.2f\n", n, who, f.CPU, f.Wall, float64(f.Memory)/1024,
			float64(f.Moved)/(1<<20))
	}
	row("rpmflow", ours)
	if missing != nil {
		return nil
	}
	row("createrepo_c", plain)
	fmt.Printf("  %8d %-14s %8.3f %8.3f\n", n, "ratio", ours.CPU/plain.CPU, ours.Wall/plain.Wall)
	return nil
}

// measured runs a command for its time, and for its memory if it prints it.
func measured(cmd *exec.Cmd) (f repoFigures, err error) {
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return f, fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
	}
	f.Wall = time.Since(begun).Seconds()
	f.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	_, _ = fmt.Sscan(string(out), &f.Memory) // what the kernel counts for a child has its parent's memory in it
	return f, nil
}

func sizeOf(dir string) (n int64, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, err
}

// firstRevision publishes n packages in a few runs.
func firstRevision(dir string, n int) error {
	s := repo.New(repo.Zstd, "x86_64")
	const run = 5000
	for i := 0; i < n; i += run {
		d := s.Edit()
		for j := i; j < min(n, i+run); j++ {
			if err := addTo(d, benchPackage(j), j); err != nil {
				return err
			}
		}
		next, err := publishTo(dir, s, d)
		if err != nil {
			return err
		}
		s = next
	}
	return nil
}

func addTo(d *repo.Draft, file []byte, i int) error {
	sum := sha256.Sum256(file)
	p, err := repo.Describe(bytes.NewReader(file), repo.File{Checksum: hex.EncodeToString(sum[:]),
		Size: int64(len(file)), Time: time.Unix(1_700_000_000, 0)})
	if err != nil {
		return err
	}
	return d.Add(p, repo.Origin{Package: p.Name, Build: fmt.Sprint("build-", i), Built: time.Unix(1_700_000_000, 0)},
		repo.Rules{})
}

// publishTo stores the next revision in a directory in place of the last.
func publishTo(dir string, s *repo.State, d *repo.Draft) (*repo.State, error) {
	repodata := filepath.Join(dir, "ours")
	var current []io.ReaderAt
	var old []string
	for _, f := range s.Files() {
		file, err := os.Open(filepath.Join(repodata, f.Name))
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		current, old = append(current, file), append(old, file.Name())
	}
	p, err := d.Publish(current, time.Unix(1_700_000_000+s.Revision, 0))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(repodata, 0o755); err != nil {
		return nil, err
	}
	for _, m := range p.Files {
		if err := save(filepath.Join(repodata, m.Name), m.Open()); err != nil {
			return nil, err
		}
	}
	next := p.State.Swept(time.Unix(1_800_000_000, 0), 0, 1)
	state, err := next.Bytes()
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"repomd.xml": p.Repomd, "flat-repomd.xml": p.FlatRepomd,
		"state.json.zst": state} {
		if err := save(filepath.Join(repodata, name), bytes.NewReader(content)); err != nil {
			return nil, err
		}
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	}
	return next, nil
}

func save(name string, from io.Reader) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// repoChild adds one package to what firstRevision has made.
func repoChild(words []string) error {
	if len(words) != 2 {
		return errors.New("repo child: a directory and a package are wanted")
	}
	stored, err := os.ReadFile(filepath.Join(words[0], "ours", "state.json.zst"))
	if err != nil {
		return err
	}
	s, err := repo.ParseState(stored)
	if err != nil {
		return err
	}
	file, err := os.ReadFile(words[1])
	if err != nil {
		return err
	}
	d := s.Edit()
	if err := addTo(d, file, int(s.Revision)); err != nil {
		return err
	}
	if _, err = publishTo(words[0], s, d); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if _, peak, ok := strings.Cut(string(status), "VmHWM:"); ok {
		fmt.Println(strings.Fields(peak)[0])
	}
	return err
}

// benchPackage is a package like those of a distribution: 30 files, 20 requirements, 10 entries in its changelog.
func benchPackage(i int) []byte {
	random := rand.New(rand.NewPCG(uint64(i), 1)) //nolint:gosec // the same packages each time
	words := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, "%c%03d ", 'a'+random.IntN(26), random.IntN(1000))
		}
		return b.String()
	}
	many := func(n int, text func(int) string) (all []string) {
		for j := range n {
			all = append(all, text(j))
		}
		return all
	}
	name := fmt.Sprintf("p%06d", i)
	files := many(30, func(j int) string { return fmt.Sprintf("file%d-%d.so", j, random.IntN(1000)) })
	in := make([]uint32, len(files))
	for j := range in {
		in[j] = uint32(j % 3)
	}
	dirs := []string{"/usr/bin/", "/usr/lib64/" + name + "/", "/usr/share/doc/" + name + "/"}
	return rpmtest.Package(rpmtest.Basic(name), rpmtest.Files(dirs, files, in, 0o100755, 0), rpmtest.Tags{
		1005: words(80),
		1047: many(5, func(j int) string { return fmt.Sprintf("%s(%d)", name, j) }), 1112: []uint32{8, 8, 8, 8, 8},
		1113: many(5, func(int) string { return "1-1" }),
		1049: many(20, func(int) string { return fmt.Sprintf("lib%d.so.1()(64bit)", random.IntN(2000)) }),
		1048: make([]uint32, 20), 1050: make([]string, 20), 1080: many32(10, 1_700_000_000),
		1081: many(10, func(int) string { return "Somebody <somebody@example.org> - 1-1" }),
		1082: many(10, func(int) string { return "- " + words(12) }),
	})
}

func many32(n int, from uint32) []uint32 {
	all := make([]uint32, n)
	for j := range all {
		all[j] = from - uint32(j)*100_000
	}
	return all
}
