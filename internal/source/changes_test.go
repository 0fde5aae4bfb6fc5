package source

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
)

func TestSourcePackages(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"README": "x", "hello-1.0-1.src.rpm": packed("hello"), "odd name.srpm": packed("odd"),
		"broken.src.rpm": "\xed\xab\xee\xdb", "deep/c.src.rpm": packed("c"), "a.rpm": "x",
	}
	w, s := gittest.New(t), newStore(t)
	req := request(w, w.Commit(files))
	for _, tt := range []struct {
		name string
		set  func(*Request)
		want string
	}{
		{"as the tree looks", func(r *Request) { r.Layout = rpmflow.LayoutAuto },
			"[{broken.src.rpm } {hello-1.0-1.src.rpm hello} {odd name.srpm odd}]"},
		{"of a directory", func(r *Request) { r.Sources.Directory = "deep" }, "[{deep/c.src.rpm c}]"},
		{"by patterns", func(r *Request) { r.Sources.SRPMs = []string{"**/*.src.rpm", "!broken*"} },
			"[{deep/c.src.rpm c} {hello-1.0-1.src.rpm hello}]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := req
			r.Layout = rpmflow.LayoutSRPM
			tt.set(&r)
			got, err := s.SourcePackages(t.Context(), r)
			if err != nil || fmt.Sprint(got) != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
	files["hello.spec"] = plainSpec
	with := request(w, w.Commit(files))
	if got, err := s.SourcePackages(t.Context(), with); err != nil || len(got) > 0 {
		t.Errorf("next to a spec: %v, %v", got, err)
	}
}

// packed is the beginning of a package: the lead, a header of signatures whose length needs padding, and one with a
// release and a name.
func packed(name string) string {
	be := binary.BigEndian
	header := func(data string, index ...uint32) []byte {
		b := be.AppendUint32(be.AppendUint32([]byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}, uint32(len(index)/4)),
			uint32(len(data)))
		for _, n := range index {
			b = be.AppendUint32(b, n)
		}
		return append(b, data...)
	}
	lead := append([]byte{0xed, 0xab, 0xee, 0xdb, 3, 0}, make([]byte, 90)...)
	signature := append(header("12345", 1000, 4, 0, 1), 0, 0, 0)
	return string(slices.Concat(lead, signature, header("1\x00"+name+"\x00", 1002, 6, 0, 1, 1000, 6, 2, 1)))
}
