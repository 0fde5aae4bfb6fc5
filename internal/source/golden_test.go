package source

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestLayouts reads testdata/layouts: each file has settings of a project, the files of its repository (tree/) and of
// the one with its packaging (packaging/), and last, as golden, what is made of them. -update rewrites that.
func TestLayouts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/layouts/*.txtar")
	testkit.Must(t, err)
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			given, err := txtar.ParseFile(file)
			testkit.Must(t, err)
			trees := map[string]map[string]string{"tree": {}, "packaging": {}}
			var inputs []txtar.File
			golden := ""
			for _, f := range given.Files {
				if f.Name == "golden" {
					golden = string(f.Data)
					continue
				}
				inputs = append(inputs, f)
				top, name, _ := strings.Cut(f.Name, "/")
				trees[top][name] = string(f.Data)
			}
			got := outcomeOf(t, layoutRequest(t, string(given.Comment), trees))
			if *update {
				given.Files = append(inputs, txtar.File{Name: "golden", Data: []byte(got)})
				testkit.Must(t, os.WriteFile(file, txtar.Format(given), 0o644))
				return
			}
			if got != golden {
				t.Errorf("got\n%s\nwant\n%s", got, golden)
			}
		})
	}
}

func layoutRequest(t *testing.T, settings string, trees map[string]map[string]string) Request {
	t.Helper()
	w := gittest.New(t)
	req := request(w, w.Commit(trees["tree"]))
	if len(trees["packaging"]) > 0 {
		p := gittest.New(t)
		req.Packaging = &Packaging{URL: p.Dir, Ref: "refs/heads/main", Commit: p.Commit(trees["packaging"])}
	}
	for line := range strings.Lines(settings) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "layout":
			req.Layout = rpmflow.Layout(value)
		case "directory":
			req.Sources.Directory = value
		case "srpm":
			req.Sources.SRPM = value
		case "lookaside":
			req.Sources.Lookaside = everything(t) + value
		case "substitute":
			req.Sources.Substitute = append(req.Sources.Substitute, substitutions(value)...)
		default:
			t.Fatalf("no setting %q", key)
		}
	}
	return req
}

// everything has a file of the same content at every address.
func everything(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w,
			"T\n")
	}))
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// outcomeOf is what a build gets: files and their content.
func outcomeOf(t *testing.T, req Request) string {
	t.Helper()
	var b strings.Builder
	store, _ := withCache(t)
	p := prepare(t, store, req)
	fmt.Fprintf(&b, "layout: %s\nexplanation: %s\n", p.Layout, p.Explanation)
	if p.SRPM != "" {
		fmt.Fprintf(&b, "source package: %s, %q\n", p.SRPMPath, content(t, p.SRPM))
		return b.String()
	}
	text := expand(t, p.Spec, p.Sources)
	if p.needsExpansion() {
		testkit.Must(t, finish(t.Context(), p, text))
	}
	fmt.Fprintf(&b, "spec: %s as %s\n", p.SpecPath, filepath.Base(p.Spec))
	if strings.HasSuffix(p.SpecPath, ".in") {
		b.WriteString(content(t, p.Spec))
	}
	for name := range strings.FieldsSeq(names(t, p.Sources)) {
		file := filepath.Join(p.Sources, name)
		if filepath.Ext(name) != ".gz" || content(t, file) == "T\n" {
			fmt.Fprintf(&b, "source: %s, %q\n", name, content(t, file))
			continue
		}
		fmt.Fprintf(&b, "archive: %s\n", name)
		members(t, &b, file)
	}
	for _, f := range p.Files {
		u, err := url.Parse(f.URL)
		testkit.Must(t, err)
		fmt.Fprintf(&b, "from the %s: %s, asked for at %s\n", f.Origin, f.Name, u.Path)
	}
	return b.String()
}

func members(t *testing.T, b *strings.Builder, file string) {
	t.Helper()
	in, err := os.Open(file)
	testkit.Must(t, err)
	defer func() { testkit.Must(t, in.Close()) }()
	z, err := gzip.NewReader(in)
	testkit.Must(t, err)
	h := sha256.New()
	whole := io.TeeReader(z, h)
	for r := tar.NewReader(whole); ; {
		m, err := r.Next()
		if err == io.EOF {
			break
		}
		testkit.Must(t, err)
		fmt.Fprintf(b, "  %c %04o %s\n", m.Typeflag, m.Mode, m.Name)
	}
	_, err = io.Copy(io.Discard, whole)
	testkit.Must(t, err)
	fmt.Fprintf(b, "  SHA-256 of the tar file: %x\n", h.Sum(nil))
}
