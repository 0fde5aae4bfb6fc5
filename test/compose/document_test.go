package compose_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/test/system"
)

// here marks the blocks of documents that TestDocument runs.
var here = regexp.MustCompile("(?s)<!-- not run: test/compose runs it -->\n```sh\n(.*?)\n```\n")

func marked(t *testing.T, file string) (blocks []string) {
	t.Helper()
	for _, m := range here.FindAllStringSubmatch(readFile(t, filepath.Join("../..", file)), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestDocument is an operator who types what docs/operations.md says, one block after the other.
func TestDocument(t *testing.T) {
	t.Parallel() // most of it is waiting
	needCompose(t)
	needImages(t)
	address := system.Bridge(t)
	r := serveRepository(t, address)
	checkout := t.TempDir()
	h := &host{dir: filepath.Join(checkout, "deploy", "compose"), project: "rpmflow-docs-" + random()}
	makeDir(t, filepath.Join(h.dir, "config"))
	copyFiles(t, h.dir)
	h.configure(t, r) // the operator's projects; init leaves it as it is
	testkit.Must(t, os.Chmod(filepath.Join(h.dir, "config", "rpmflow.yaml"), 0o644))
	listener := freePort(t, "127.0.0.1")
	h.listener = "http://127.0.0.1:" + listener
	env := []string{
		"COMPOSE_PROJECT_NAME=" + h.project, "LISTENER_PORT=127.0.0.1:" + listener, "PUBLIC_URL=" + h.listener,
		"NATS_PORT=127.0.0.1:" + freePort(t, "127.0.0.1"), "S3_PORT=127.0.0.1:" + freePort(t, "127.0.0.1"),
	}
	h.env = env
	h.removeAtEnd(t)
	r.announce(t, h)

	dir := checkout
	play := func(block string) {
		t.Helper()
		// needImages has made them, of this tree.
		out, err := output(patience, dir, env, "sh", "-euc", strings.TrimPrefix(block, "make images\n"))
		if err != nil {
			t.Fatalf("%v\n%s", err, block)
		}
		t.Logf("%s\n%s", block, out)
		dir = h.dir
	}
	blocks := marked(t, "docs/operations.md")
	for _, block := range marked(t, "README.md") {
		if block != blocks[0] {
			t.Errorf("the README installs in another way:\n%s", block)
		}
	}
	var b string
	restored := false
	for i, block := range blocks {
		if strings.Contains(block, "-xzf") { // all is lost, but for the backup
			h.compose(t, "down", "--volumes", "--timeout", "30")
			restored = true
		}
		play(block)
		if i == 0 {
			h.healthy(t, 5)
			b = r.push(t, 0)
		}
	}
	if !restored {
		t.Error("nothing was restored")
	}
	h.healthy(t, 1, "listener")
	s := h.subscribe(t)
	s.finished(t, r.push(t, 0))
	if n := len(h.containers(t, "builder")); n != 4 {
		t.Errorf("%d builders", n)
	}
	for _, kept := range h.builds(t) {
		if kept.Commit == b {
			checkPackages(t, kept)
			return
		}
	}
	t.Error("the first build is not in what was restored")
}
