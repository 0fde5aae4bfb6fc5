package repo_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/rpmflow/rpmflow/internal/rpmfile/rpmtest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// crafted are packages that take rpmbuild too long, or that it does not make.
func crafted(t *testing.T, dir string) (files []string) {
	t.Helper()
	save := func(name string, more rpmtest.Tags) {
		content := rpmtest.Package(rpmtest.Basic(name), more)
		files = append(files, testkit.Write(t, filepath.Join(dir, name+".rpm"), string(content)))
	}
	save("huge", rpmtest.Tags{5009: []uint64{5 << 30}, 271: []uint64{6 << 30}})
	names, in := make([]string, 50_000), make([]uint32, 50_000)
	for i := range names {
		names[i], in[i] = fmt.Sprintf("file %d & co", i), uint32(i%3)
	}
	save("many", rpmtest.Files([]string{"/usr/share/many/", "/etc/many/", "/usr/bin/"}, names, in, 0o100644, 0))
	// The epoch of a requirement is not a number, flags that do not exist, a name that is empty.
	save("odd", rpmtest.Tags{1047: []string{"odd", ""}, 1112: []uint32{8, 0}, 1113: []string{"1-1", ""},
		1049: []string{"a", "b", "c", "d", "e"}, 1048: []uint32{8, 6, 8, 8 | 1<<19, 1 << 6},
		1050: []string{"x:1", "1", ":2-", "3", ""}})
	return files
}
