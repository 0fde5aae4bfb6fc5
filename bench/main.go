// Command bench measures what rpmflow promises and prints figures: the time from a push to the engine's first call,
// memory of idle programs and of a builder with a large log, how soon a line of a log is seen and a killed builder's
// build is built by another, a publisher from the finished event to the published package, additions to a repository
// beside createrepo_c, sizes of binaries and images, and on demand the duration of the tests, and fetches and archives
// compared with the git command (-git). Figures of one noisy machine are not results of a test; what is compared is
// measured side by side in one run.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow/internal/lifeline"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

func main() {
	lifeline.Main(map[string]lifeline.Func{gateway.ChildName: gateway.Child})
	pushes := flag.Int("pushes", 100, "pushes for the latency, one after the other")
	image := flag.String("mock-image", os.Getenv("MOCK_IMAGE"),
		"image with mock; the stand-in when empty and Docker runs")
	configDir := flag.String("mock-configdir", os.Getenv("MOCK_CONFIGDIR"),
		"mock's configuration directory; the image's own when empty")
	target := flag.String("mock-target", os.Getenv("MOCK_TARGET"), "mock configuration to build for")
	makeTest := flag.Bool("make-test", false, "also time `make test` with cold and with warm caches, in a fresh clone")
	rebuild := flag.Bool("rebuild", false,
		"compare rebuilds by plain mock and by the engine, and nothing else; needs -mock-image and -mock-configdir")
	requires := flag.String("mock-requires",
		"gcc make autoconf automake libtool cmake zlib-devel openssl-devel ncurses-devel readline-devel libxml2-devel "+
			"glib2-devel", "BuildRequires of the package that has many")
	alone := flag.Bool("git", false, "compare fetches and archives with the git command, and nothing else")
	child := flag.String("git-child", "", "what -git runs to measure: directory, URL and commit")
	packages := flag.String("repo", "",
		"compare adding a package to repositories of so many packages (100,1000) with createrepo_c, and nothing else")
	publishes := flag.Bool("publish", false, "measure a publisher, and nothing else")
	large := flag.Int64("large", 3_000_000_000, "bytes of the large package that a publisher publishes")
	repository := flag.String("repo-child", "", "what -repo runs to measure: directory and package")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	m := mockSettings{*image, *configDir, *target}
	var err error
	switch {
	case *child != "":
		err = gitChild(ctx, strings.Fields(*child), os.Stdout)
	case *alone:
		err = gitAlone(ctx)
	case *repository != "":
		err = repoChild(strings.Fields(*repository))
	case *packages != "":
		err = repoAlone(ctx, *packages)
	case *publishes:
		err = publishAlone(ctx, *large)
	case *rebuild:
		err = rebuildsAlone(ctx, m, *requires)
	default:
		err = bench(ctx, *pushes, m, *makeTest, *large)
	}
	if err != nil {
		log.SetFlags(0)
		log.Fatal("bench: ", err)
	}
}

func bench(ctx context.Context, pushes int, m mockSettings, makeTest bool, large int64) error {
	dir, err := os.MkdirTemp("", "rpmflow-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o711); err != nil { // #nosec G302 -- builders of root run packages as another user
		return err
	}
	fmt.Printf("machine: %s, %d processors, %s\n\n", runtime.GOARCH, runtime.NumCPU(), runtime.Version())

	bin := filepath.Join(dir, "bin")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", bin+"/",
		"./cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w: %s", err, out)
	}
	fmt.Println("sizes of the binaries (stripped)")
	for _, name := range []string{"listener", "builder", "rpmflow"} {
		info, err := os.Stat(filepath.Join(bin, name))
		if err != nil {
			return err
		}
		fmt.Printf("  %-10s %6.1f MB\n", name, float64(info.Size())/1e6)
	}
	printImages(ctx)

	fmt.Printf("\npush received → the engine's first call, without the git fetch, %d pushes one after the other\n",
		pushes)
	if err := latency(ctx, "rpmbuild", "rpmbuild's start", pushes, filepath.Join(dir, "rpmbuild"),
		mockSettings{}); err != nil {
		fmt.Printf("  %-10s not measured: %v\n", "rpmbuild", err)
	}
	if m, err = m.complete(ctx); err != nil {
		fmt.Printf("  %-10s not measured: %v\n", "mock", err)
	} else if err := latency(ctx, "mock", "container create", pushes, filepath.Join(dir, "mock"), m); err != nil {
		fmt.Printf("  %-10s not measured: %v\n", "mock", err)
	}

	fmt.Println("\nresident memory when idle for 10 s")
	if err := idleMemory(ctx, bin, filepath.Join(dir, "idle")); err != nil {
		return err
	}
	builderFigures(ctx, bin, dir, m)
	if err := publisherFigures(ctx, bin, filepath.Join(dir, "publishing"), large); err != nil {
		fmt.Printf("  not measured: %v\n", err)
	}
	fmt.Println()
	if err := repoAlone(ctx, "100,1000,10000"); err != nil {
		return err
	}
	if makeTest {
		return timeMakeTest(ctx, dir)
	}
	fmt.Println("\n`make test`, cold and warm: run with -make-test")
	return nil
}

// printImages lists the images of ours that are on the engine.
func printImages(ctx context.Context) {
	out, err := exec.CommandContext(ctx, "docker", "images", "--filter", "reference=rpmflow/*", "--format",
		"{{.Repository}}:{{.Tag}}\t{{.Size}}").Output()
	if err != nil {
		fmt.Println("\nsizes of the images: no Docker engine answers")
		return
	}
	fmt.Println("\nsizes of the images on this engine")
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if name, size, ok := strings.Cut(line, "\t"); ok {
			fmt.Printf("  %-50s %s\n", name, size)
		}
	}
}

// timeMakeTest clones the repository and runs its tests twice: with an empty build cache, and again.
func timeMakeTest(ctx context.Context, dir string) error {
	clone, cache := filepath.Join(dir, "clone"), filepath.Join(dir, "gocache")
	if out, err := exec.CommandContext(ctx, "git", "clone", "--quiet", ".", clone).CombinedOutput(); err != nil {
		return fmt.Errorf("clone: %w: %s", err, out)
	}
	fmt.Println("\n`make test` in a fresh clone")
	for _, name := range []string{"cold build cache", "warm build cache"} {
		cmd := exec.CommandContext(ctx, "make", "test")
		cmd.Dir, cmd.Env = clone, append(os.Environ(), "GOCACHE="+cache)
		begun := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("make test: %w: %s", err, out[max(0, len(out)-2000):])
		}
		fmt.Printf("  %-20s %s\n", name, time.Since(begun).Round(time.Second))
	}
	return nil
}
