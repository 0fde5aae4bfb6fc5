package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/storage/gateway"
)

// publishing is a publisher as a program of its own, whose traffic with S3 is counted.
type publishing struct {
	*apart
	store     *storage.Store
	signer    *sign.Signer
	s3        *counted
	published chan *nats.Msg
	publisher *exec.Cmd
	packages  int // made so far
}

// publisherFigures measures a publisher from the finished event to the published revision, through NATS and S3.
func publisherFigures(ctx context.Context, bin, dir string, large int64) error {
	p, err := startPublishing(ctx, bin, dir)
	if err != nil {
		return err
	}
	defer p.close()
	fmt.Println("\na publisher through NATS and S3: from a finished event to the event that its package is published")
	if err := p.start(ctx); err != nil {
		return err
	}
	if err := p.latency(ctx, 200); err != nil {
		return err
	}
	fmt.Printf("  %8s %8s %8s %8s %10s %10s\n", "packages", "CPU s", "wall s", "peak MiB", "MiB stored", "MiB read")
	for _, n := range []int{100, 1000, 10_000, 50_000} {
		if err := p.size(ctx, n); err != nil {
			return err
		}
	}
	if err := p.waiting(ctx, 1000); err != nil {
		return err
	}
	return p.large(ctx, large)
}

func publishAlone(ctx context.Context, large int64) error {
	dir, err := os.MkdirTemp("", "rpmflow-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return publisherFigures(ctx, "bin", dir, large)
}

func startPublishing(ctx context.Context, bin, dir string) (_ *publishing, err error) {
	a, err := startApart(ctx, bin, dir, "")
	if err != nil {
		return nil, err
	}
	p := &publishing{apart: a, published: make(chan *nats.Msg, 10_000)}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if _, err = a.nc.ChanSubscribe("rpmflow.published.>", p.published); err != nil {
		return nil, err
	}
	private, _, err := sign.Generate(sign.RSA4096, "bench", "")
	if err != nil {
		return nil, err
	}
	key, err := sign.ParseKey(private)
	if err != nil {
		return nil, err
	}
	if p.signer, err = sign.NewSigner(key); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "publisher")
	if err := errors.Join(os.MkdirAll(data, 0o700), os.WriteFile(filepath.Join(data, "signing-key.asc"), private,
		0o600)); err != nil {
		return nil, err
	}
	p.store, err = storage.Open(storage.Config{Endpoint: a.s3.Endpoint(), Region: gateway.DefaultRegion,
		Bucket: "rpmflow", CreateBucket: true, AccessKey: "bench", SecretKey: "bench-secret",
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err = p.store.Ensure(ctx); err != nil {
		return nil, err
	}
	if p.s3, err = count(strings.TrimPrefix(a.s3.Endpoint(), "http://")); err != nil {
		return nil, err
	}
	a.env = append(a.env, "RPMFLOW_S3_ENDPOINT=http://"+p.s3.address, "RPMFLOW_PUBLISHER_STATUS_LISTEN=127.0.0.1:0",
		"RPMFLOW_PUBLIC_URL="+a.url)
	return p, nil
}

func (p *publishing) close() {
	p.apart.close()
	if p.store != nil {
		p.store.Close()
	}
	if p.s3 != nil {
		_ = p.s3.socket.Close()
	}
}

func (p *publishing) start(ctx context.Context) (err error) {
	p.publisher, err = p.apart.start(ctx, "publisher", "publisher")
	return err
}

// build stores a package as one of a build that has ended.
func (p *publishing) build(ctx context.Context, target, file string) (b rpmflow.Build, err error) {
	now := time.Now().UTC()
	b = rpmflow.Build{State: rpmflow.Finished, Attempt: 1}
	b.ID, b.Project, b.Package, b.Target = rpmflow.DeriveID(target, file), "bench", filepath.Base(file), target
	b.Arch, b.FinishedAt, b.Outcome = "x86_64", &now, &rpmflow.Outcome{Result: rpmflow.Succeeded}
	a, err := p.store.PutFile(ctx, b.Prefix()+filepath.Base(file), file, rpmflow.KindRPM)
	a.NEVRA = strings.TrimSuffix(a.Name, ".rpm")
	b.Artifacts = []rpmflow.Artifact{a}
	return b, err
}

// next makes another package.
func (p *publishing) next() (file string, err error) {
	p.packages++
	file = filepath.Join(p.dir, fmt.Sprintf("p%06d-1-1.x86_64.rpm", p.packages))
	return file, os.WriteFile(file, benchPackage(p.packages), 0o600)
}

// publish measures a package from its finished event to its publication.
func (p *publishing) publish(ctx context.Context, target string) (time.Duration, error) {
	file, err := p.next()
	if err != nil {
		return 0, err
	}
	b, err := p.build(ctx, target, file)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if _, err := p.ledger.Append(ctx, events.TypeFinished, b, 0); err != nil {
		return 0, err
	}
	err = p.await(ctx, 1)
	return time.Since(begun), err
}

// await waits until so many packages are published.
func (p *publishing) await(ctx context.Context, packages int) error {
	const limit = 15 * time.Minute
	timeout := time.After(limit)
	for packages > 0 {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout:
			return fmt.Errorf("%d packages are not published after %s", packages, limit)
		case msg := <-p.published:
			packages -= bytes.Count(msg.Data, []byte(`"nevra"`))
			if bytes.Contains(msg.Data, []byte(`"refused"`)) {
				return fmt.Errorf("refused: %s", msg.Data)
			}
		}
	}
	return nil
}

// latency publishes packages one after the other, and has dnf read the repository at the end.
func (p *publishing) latency(ctx context.Context, n int) error {
	const target = "small-x86_64"
	var took []time.Duration
	for range n {
		t, err := p.publish(ctx, target)
		if err != nil {
			return err
		}
		took = append(took, t)
	}
	fmt.Printf("  %d builds one after the other     %s\n", n, quantiles(took, time.Millisecond))
	if _, err := exec.LookPath("dnf"); err != nil {
		return nil
	}
	root := filepath.Join(p.dir, "root")
	repos := filepath.Join(root, "etc", "yum.repos.d")
	url := p.url + "/repos/bench/" + target
	text := fmt.Sprintf("[bench]\nname=bench\nmirrorlist=%[1]s/mirrorlist\nrepo_gpgcheck=1\n"+
		"gpgkey=%[1]s/RPM-GPG-KEY-bench\n", url)
	if err := errors.Join(os.MkdirAll(repos, 0o755), os.WriteFile(filepath.Join(repos, "bench.repo"), []byte(text),
		0o600)); err != nil {
		return err
	}
	begun := time.Now()
	out, err := exec.CommandContext(ctx, "dnf", "--installroot="+root, "--releasever=1", "--assumeyes",
		"makecache").CombinedOutput()
	if err != nil {
		return fmt.Errorf("dnf makecache: %w: %s", err, out)
	}
	fmt.Printf("  dnf makecache of these            %8s\n", time.Since(begun).Round(time.Millisecond))
	return nil
}

// size measures the best of some publications of one package in a repository of so many.
func (p *publishing) size(ctx context.Context, n int) error {
	target := fmt.Sprintf("size-%d-x86_64", n)
	if err := p.seed(ctx, target, n); err != nil {
		return err
	}
	p.packages = max(p.packages, n)
	var best repoFigures
	var read int64
	for i := range repoRounds {
		pid := strconv.Itoa(p.publisher.Process.Pid)
		if err := os.WriteFile("/proc/"+pid+"/clear_refs", []byte("5"), 0o600); err != nil { // its peak begins again
			return err
		}
		p.s3.stored.Store(0)
		p.s3.read.Store(0)
		before, err := cpu(pid)
		if err != nil {
			return err
		}
		took, err := p.publish(ctx, target)
		if err != nil {
			return err
		}
		after, err := cpu(pid)
		if err != nil {
			return err
		}
		peak, err := memory(p.publisher, "VmHWM")
		if err != nil {
			return err
		}
		f := repoFigures{CPU: after - before, Wall: took.Seconds(), Moved: p.s3.stored.Load()}
		read = p.s3.read.Load()
		if _, err := fmt.Sscan(peak, &f.Memory); err != nil {
			return err
		}
		best = best.best(f, i)
	}
	fmt.Printf("  %8d %8.2f %8.2f %8.1f %10.2f %10.2f\n", n, best.CPU, best.Wall, float64(best.Memory)/1024,
		float64(best.Moved)/(1<<20), float64(read)/(1<<20))
	return nil
}

// waiting measures how long so many builds take that were finished before the publisher starts.
func (p *publishing) waiting(ctx context.Context, n int) error {
	_ = p.publisher.Process.Signal(os.Interrupt)
	_ = p.publisher.Wait()
	for range n {
		file, err := p.next()
		if err != nil {
			return err
		}
		b, err := p.build(ctx, "waiting-x86_64", file)
		if err != nil {
			return err
		}
		if _, err := p.ledger.Append(ctx, events.TypeFinished, b, 0); err != nil {
			return err
		}
	}
	begun := time.Now()
	if err := p.start(ctx); err != nil {
		return err
	}
	if err := p.await(ctx, n); err != nil {
		return err
	}
	fmt.Printf("  %d builds that wait at its start, all %6.1f s\n", n, time.Since(begun).Seconds())
	return nil
}

// large measures a package of so many bytes.
func (p *publishing) large(ctx context.Context, size int64) error {
	file, err := p.next()
	if err != nil {
		return err
	}
	if err := os.Truncate(file, size); err != nil { // its payload is a hole
		return err
	}
	b, err := p.build(ctx, "large-x86_64", file)
	if err != nil {
		return err
	}
	pid := strconv.Itoa(p.publisher.Process.Pid)
	if err := os.WriteFile("/proc/"+pid+"/clear_refs", []byte("5"), 0o600); err != nil {
		return err
	}
	begun := time.Now()
	if _, err := p.ledger.Append(ctx, events.TypeFinished, b, 0); err != nil {
		return err
	}
	if err := p.await(ctx, 1); err != nil {
		return err
	}
	peak, err := memory(p.publisher, "VmHWM")
	fmt.Printf("  a package of %.1f GB %6.1f s, at most %s of memory\n", float64(size)/1e9,
		time.Since(begun).Seconds(), peak)
	return err
}

// cpu is how many seconds of processor time a process has used.
func cpu(pid string) (float64, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%s/stat: %s", pid, stat)
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, errors.Join(err1, err2) // clock ticks are 10 ms on every Linux machine of ours
}
