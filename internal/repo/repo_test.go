package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rpmflow/rpmflow/internal/repo"
	"github.com/rpmflow/rpmflow/internal/rpmfile"
	"github.com/rpmflow/rpmflow/internal/rpmfile/rpmtest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// synthetic is a package with a header that rpm could have written; other content makes another checksum.
func synthetic(t testing.TB, name, version, other string) *repo.Package {
	t.Helper()
	content := rpmtest.Package(rpmtest.Basic(name), rpmtest.Tags{1001: version},
		rpmtest.Files([]string{"/usr/bin/"}, []string{name}, []uint32{0}, 0o100755, 0))
	f := repo.File{Checksum: sum(name + version + other), Size: 1, Time: day}
	p, err := repo.Describe(bytes.NewReader(content), f)
	testkit.Must(t, err)
	return p
}

// keeper publishes into memory, and checks each time that the files have exactly the packages that they should have.
type keeper struct {
	testing.TB
	state  *repo.State
	files  []io.ReaderAt
	bytes  [][]byte
	clock  time.Time
	copied int // bytes of the last publication that are those of the one before
}

func keep(t testing.TB, c repo.Compression) *keeper {
	return &keeper{TB: t, state: repo.New(c, "noarch", "x86_64"), clock: day}
}

func (k *keeper) publish(d *repo.Draft) *repo.Publication {
	k.Helper()
	k.clock = k.clock.Add(time.Minute)
	p, err := d.Publish(k.files, k.clock)
	testkit.Must(k, err)
	before := k.bytes
	k.files, k.bytes = nil, nil
	for i, f := range p.Files {
		content := testkit.Value(io.ReadAll(f.Open()))(k)
		if sum(string(content)) != f.SHA256 || int64(len(content)) != f.Size {
			k.Errorf("%s is not what it says", f.Name)
		}
		k.bytes, k.files = append(k.bytes, content), append(k.files, bytes.NewReader(content))
		if before != nil && i == 0 {
			k.copied = common(before[0], content)
		}
	}
	stored := testkit.Value(p.State.Bytes())(k)
	k.state = testkit.Value(repo.ParseState(stored))(k)
	return p
}

// common is how many frames of one file begin another after its head, in bytes.
func common(a, b []byte) int {
	magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	cut := func(s []byte) []byte { // without the head, which has the number of packages
		if i := bytes.Index(s[4:], magic); i >= 0 {
			return s[i+4:]
		}
		return nil
	}
	a, b = cut(a), cut(b)
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// check compares the files with what should be in them.
func (k *keeper) check(t *testing.T, want map[rpmfile.NEVRA]*repo.Package) {
	t.Helper()
	fragments := []func(p *repo.Package) string{
		func(p *repo.Package) string { return p.Primary }, func(p *repo.Package) string { return p.Filelists },
		func(p *repo.Package) string { return p.Other }, func(p *repo.Package) string {
			return strings.ReplaceAll(p.Primary, `href="../../Packages/`, `href="Packages/`)
		}}
	for i, file := range k.bytes {
		name := t.TempDir() + "/x" + map[bool]string{true: ".zst", false: ".gz"}[k.state.Compression == repo.Zstd]
		text := string(content(t, testkit.Write(t, name, string(file))))
		if head := fmt.Sprintf(` packages="%d">`, len(want)); !strings.Contains(text, head) {
			t.Errorf("no %s in %.300s", head, text)
		}
		if n := strings.Count(text, "<package "); n != len(want) {
			t.Errorf("file %d has %d packages, want %d", i, n, len(want))
		}
		for n, p := range want {
			if !strings.Contains(text, fragments[i](p)) {
				t.Fatalf("file %d is without %s", i, n)
			}
		}
	}
	got := map[rpmfile.NEVRA]bool{}
	for _, e := range k.state.Entries() {
		got[e.NEVRA] = true
		if want[e.NEVRA] == nil || want[e.NEVRA].Checksum != e.Checksum {
			t.Errorf("the state has %s", e.NEVRA)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the state has %d packages, want %d", len(got), len(want))
	}
}

// Whatever is added and removed in whatever order, the files have what they should have, in few frames.
func TestPublicationsHaveWhatWasAdded(t *testing.T) {
	t.Parallel()
	for _, c := range []repo.Compression{repo.Zstd, repo.Gzip} {
		random := rand.New(rand.NewPCG(1, 2))
		k, want := keep(t, c), map[rpmfile.NEVRA]*repo.Package{}
		for round := range 40 {
			d := k.state.Edit()
			for _, n := range slices.SortedFunc(maps.Keys(want), func(a, b rpmfile.NEVRA) int {
				return strings.Compare(a.String(), b.String())
			}) {
				if random.IntN(100) < []int{0, 2, 30, 95}[round%4] {
					if !d.Remove(n) {
						t.Fatalf("%s is not there", n)
					}
					delete(want, n)
				}
			}
			for i := range random.IntN(150) {
				p := synthetic(t, fmt.Sprintf("p%d-%d", round, i), "1", "")
				from := repo.Origin{Build: fmt.Sprint(round), Package: p.Name, Built: k.clock}
				testkit.Must(t, d.Add(p, from, repo.Rules{}))
				want[p.NEVRA] = p
			}
			k.publish(d)
			if round%4 == 3 {
				k.check(t, want)
			}
			if most := len(want)/32 + 3; len(k.state.Frames) > most {
				t.Errorf("round %d: %d packages in %d frames", round, len(want), len(k.state.Frames))
			}
		}
	}
}

// A package that is added changes the end of the files, one that is removed what is around it.
func TestPublicationsCopyWhatStays(t *testing.T) {
	t.Parallel()
	k := keep(t, repo.Zstd)
	d := k.state.Edit()
	var all []*repo.Package
	for i := range 1000 {
		all = append(all, synthetic(t, fmt.Sprint("p", i), "1", ""))
		testkit.Must(t, d.Add(all[i], repo.Origin{}, repo.Rules{}))
	}
	k.publish(d)
	size := len(k.bytes[0])
	for _, step := range []struct {
		name        string
		edit        func(d *repo.Draft)
		least, most float64
	}{
		{"one is added", func(d *repo.Draft) {
			testkit.Must(t, d.Add(synthetic(t, "one", "1", ""), repo.Origin{}, repo.Rules{}))
		}, 0.85, 1},
		{"a late one is removed", func(d *repo.Draft) { d.Remove(all[960].NEVRA) }, 0.85, 1},
		{"one in the middle is removed", func(d *repo.Draft) { d.Remove(all[500].NEVRA) }, 0.35, 0.5},
	} {
		d := k.state.Edit()
		step.edit(d)
		k.publish(d)
		if part := float64(k.copied) / float64(size); part < step.least || part > step.most {
			t.Errorf("%s: %.2f of the file stays as it was, want %.2f to %.2f", step.name, part, step.least, step.most)
		}
	}
}

// The same packages make the same bytes.
func TestPublicationsAreDeterministic(t *testing.T) {
	t.Parallel()
	var before []byte
	for range 2 {
		k := keep(t, repo.Zstd)
		d := k.state.Edit()
		for i := range 300 {
			testkit.Must(t, d.Add(synthetic(t, fmt.Sprint("p", i), "1", ""), repo.Origin{}, repo.Rules{}))
		}
		p := k.publish(d)
		all := slices.Concat(slices.Concat(k.bytes...), p.Repomd, p.FlatRepomd, testkit.Value(p.State.Bytes())(t))
		if before != nil && !bytes.Equal(before, all) {
			t.Error("the bytes differ")
		}
		before = all
	}
}

// A file that is not the one that was published is noticed before anything is made of it.
func TestPublishRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	k := keep(t, repo.Zstd)
	d := k.state.Edit()
	for i := range 300 {
		testkit.Must(t, d.Add(synthetic(t, fmt.Sprint("p", i), "1", ""), repo.Origin{}, repo.Rules{}))
	}
	k.publish(d)
	for name, damage := range map[string]func([]byte) []byte{
		"a byte in a frame that is copied": func(b []byte) []byte { b[400]++; return b },
		"a byte in the frame that changes": func(b []byte) []byte { b[len(b)-60]++; return b },
		"cut":                              func(b []byte) []byte { return b[:len(b)/2] },
		"empty":                            func([]byte) []byte { return nil },
	} {
		for i := range k.files {
			if i == 3 && name == "a byte in the frame that changes" {
				continue // it is made of primary
			}
			files := slices.Clone(k.files)
			files[i] = bytes.NewReader(damage(bytes.Clone(k.bytes[i])))
			d := k.state.Edit()
			testkit.Must(t, d.Add(synthetic(t, "new", "1", ""), repo.Origin{}, repo.Rules{}))
			if _, err := d.Publish(files, day); err == nil || !strings.Contains(err.Error(), "publish revision 2: ") {
				t.Errorf("%s, file %d: %v", name, i, err)
			}
		}
	}
	if _, err := k.state.Edit().Publish(nil, day); err == nil {
		t.Error("published without the files")
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	k := keep(t, repo.Zstd)
	d := k.state.Edit()
	first := synthetic(t, "x", "1", "")
	from := repo.Origin{Package: "x", Build: "b1", Built: day}
	testkit.Must(t, d.Add(first, from, repo.Rules{}))
	testkit.Must(t, d.Add(synthetic(t, "x", "2", ""), repo.Origin{Package: "x", Build: "b2", Built: day}, repo.Rules{}))
	k.publish(d)

	other, lower, source := synthetic(t, "x", "1", "other"), synthetic(t, "x", "1.5", ""), synthetic(t, "x", "3", "")
	source.Arch = "src"
	for _, c := range []struct {
		name  string
		p     *repo.Package
		build string
		rules repo.Rules
		why   string // "" is not refused
		adds  int
	}{
		{"again", first, "b1", repo.Rules{RefuseLower: true}, "", 0},
		{"signed again", other, "b1", repo.Rules{}, "", 0},
		{"the same from another build", first, "b3", repo.Rules{}, "", 0},
		{"other content", other, "b3", repo.Rules{}, "build b1 has published another package", 0},
		{"other content, allowed", other, "b3", repo.Rules{Replace: true}, "", 1},
		{"lower", lower, "b3", repo.Rules{RefuseLower: true}, "x-2-1.x86_64 is published, which is newer", 0},
		{"lower, allowed", lower, "b3", repo.Rules{}, "", 1},
		{"of another architecture", source, "b3", repo.Rules{}, "architecture src", 0},
	} {
		d := k.state.Edit()
		err := d.Add(c.p, repo.Origin{Package: "x", Build: c.build, Built: day}, c.rules)
		var refused *repo.Refused
		if c.why == "" && err != nil || c.why != "" && (!errors.As(err, &refused) ||
			!strings.Contains(err.Error(), c.why) || refused.Hinted() == "") {
			t.Errorf("%s: %v", c.name, err)
		}
		if d.Changed() != (c.adds > 0) {
			t.Errorf("%s: changed: %v", c.name, d.Changed())
		}
		if p, err := d.Publish(k.files, day); err != nil || len(p.Added) != c.adds {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	now := day.Add(100 * 24 * time.Hour)
	add := func(d *repo.Draft, name, version string, days int) {
		from := repo.Origin{Package: "x", Build: "b" + version, Built: now.Add(-time.Duration(days) * 24 * time.Hour)}
		testkit.Must(t, d.Add(synthetic(t, name, version, ""), from, repo.Rules{}))
	}
	for _, c := range []struct {
		keep repo.Keep
		want string
	}{
		{repo.Keep{}, "x-1 x-2 x-3 x-9 x-libs-1 x-libs-2"},
		{repo.Keep{Builds: 1}, "x-3 x-9"},
		{repo.Keep{Builds: 2}, "x-2 x-3 x-9 x-libs-2"},
		{repo.Keep{Builds: 9}, "x-1 x-2 x-3 x-9 x-libs-1 x-libs-2"},
		{repo.Keep{Age: 15 * 24 * time.Hour}, "x-2 x-3 x-9 x-libs-2"},
		{repo.Keep{Builds: 2, Age: time.Hour}, "x-2 x-3 x-9 x-libs-2"},
		{repo.Keep{Builds: 1, Age: 25 * 24 * time.Hour}, "x-1 x-2 x-3 x-9 x-libs-1 x-libs-2"},
	} {
		for _, published := range []bool{false, true} { // what was added just now is subject to it, too
			k := keep(t, repo.Zstd)
			d := k.state.Edit()
			add(d, "x", "9", 40) // the highest version, built first
			add(d, "x", "1", 20)
			add(d, "x-libs", "1", 20)
			add(d, "x", "2", 10)
			add(d, "x-libs", "2", 10)
			add(d, "x", "3", 1)
			if published {
				k.publish(d)
				d = k.state.Edit()
			}
			d.Keep(c.keep, now)
			p := k.publish(d)
			var got []string
			for _, e := range p.State.Entries() {
				got = append(got, e.Name+"-"+e.Version)
			}
			slices.Sort(got)
			if strings.Join(got, " ") != c.want {
				t.Errorf("%+v: %s, want %s", c.keep, got, c.want)
			}
			gone := 0
			if published {
				gone = 6 - len(got)
			}
			if len(p.State.Removed) != gone {
				t.Errorf("%+v: %d files to remove later", c.keep, len(p.State.Removed))
			}
		}
	}
}

// What leaves the metadata stays as long as a client may have old metadata, and in what old revisions need.
func TestSwept(t *testing.T) {
	t.Parallel()
	k := keep(t, repo.Zstd)
	p := synthetic(t, "x", "1", "")
	step := func(edit func(*repo.Draft)) {
		d := k.state.Edit()
		edit(d)
		k.publish(d)
	}
	add := func(d *repo.Draft) { testkit.Must(t, d.Add(p, repo.Origin{}, repo.Rules{})) }
	remove := func(d *repo.Draft) { d.Remove(p.NEVRA) }
	other := func(name string) func(*repo.Draft) {
		return func(d *repo.Draft) { testkit.Must(t, d.Add(synthetic(t, name, "1", ""), repo.Origin{}, repo.Rules{})) }
	}
	step(add)        // revision 1
	step(remove)     // 2
	step(other("a")) // 3
	step(other("b")) // 4
	sweep := func(hours, revisions int) string {
		next := k.state.Swept(k.clock.Add(time.Duration(hours)*time.Hour), 50*time.Hour, revisions)
		gone := []int64{}
		for _, r := range k.state.Revisions {
			same := func(n repo.Revision) bool { return n.Number == r.Number }
			if !slices.ContainsFunc(next.Revisions, same) {
				gone = append(gone, r.Number)
			}
		}
		return fmt.Sprint(gone, len(k.state.Removed)-len(next.Removed))
	}
	for _, c := range []struct {
		hours, revisions int
		want             string
	}{{49, 1, "[] 0"}, {51, 3, "[1] 1"}, {51, 4, "[] 0"}, {51, 1, "[1 2 3] 1"}} {
		if got := sweep(c.hours, c.revisions); got != c.want {
			t.Errorf("after %d hours, keeping %d: %s, want %s", c.hours, c.revisions, got, c.want)
		}
	}
	k.state.Revisions[0].Pinned = true
	if got := sweep(51, 1); got != "[2 3] 0" {
		t.Errorf("pinned: %s", got)
	}
	step(add) // 5: the file is needed again
	if got := sweep(51, 1); got != "[2 3 4] 0" {
		t.Errorf("added again: %s", got)
	}
	step(remove) // 6
	if got := sweep(51, 1); got != "[2 3 4 5] 0" {
		t.Errorf("removed again, with a revision that had it before: %s", got)
	}
	k.state.Revisions[0].Pinned = false
	if got := sweep(51, 1); got != "[1 2 3 4 5] 1" {
		t.Errorf("removed again: %s", got)
	}
}
