package source

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// refusePointers looks through what git archive would make for files that Git LFS keeps elsewhere: a package of pointers is none.
// Only trees whose attributes speak of Git LFS are worth the second archive that this takes.
func (p *Prepared) refusePointers(ctx context.Context, snap *snapshot) (err error) {
	var names []string
	err = snap.gitArchive(ctx, archiving{format: "tar"}, func(r io.Reader) (err error) {
		if names, err = pointers(r); err != nil {
			err = &damage{fmt.Errorf("reading what git archive makes: %w", err)}
		}
		return err
	})
	if err != nil || len(names) == 0 {
		return err
	}
	const most = 20
	list := strings.Join(names[:min(len(names), most)], ", ")
	if n := len(names) - most; n > 0 {
		list += fmt.Sprintf(" and %d more", n)
	}
	return rpmflow.Fail(rpmflow.FailureSource, "commit the files themselves, or mark those that the package does not need with export-ignore in .gitattributes",
		"the archive of %s would have Git LFS pointers instead of files: %s", short(p.Commit), list)
}

// pointers lists the files of a tar archive that are pointers of Git LFS.
func pointers(archive io.Reader) (names []string, err error) {
	t := tar.NewReader(archive)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, archive) // the padding at the end, for which git would wait
			return names, err
		}
		if err != nil {
			return names, err
		}
		if h.Typeflag != tar.TypeReg || h.Size >= maxPointer {
			continue
		}
		text, err := io.ReadAll(t)
		if err != nil {
			return names, err
		}
		if isPointer(text) {
			names = append(names, show(h.Name))
		}
	}
}

// maxPointer is the size below which a file can be a pointer (the specification of Git LFS).
const maxPointer = 1024

func isPointer(text []byte) bool {
	return bytes.HasPrefix(text, lfsPointer) && bytes.Contains(text, []byte("\noid sha256:"))
}
