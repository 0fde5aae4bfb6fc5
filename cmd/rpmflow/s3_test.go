package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rpmflow/rpmflow/internal/storage"
	"github.com/rpmflow/rpmflow/internal/testkit"
)

// server is `rpmflow s3` as an operator runs it.
type server struct {
	cmd  *exec.Cmd
	log  *testkit.Log
	done chan struct{}
}

func startS3(t *testing.T, env ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command("/proc/self/exe", "s3"), log: &testkit.Log{}, done: make(chan struct{})}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = t.TempDir(), s.log, s.log
	s.cmd.Env = append([]string{asProgram + "=1"}, env...)
	testkit.Must(t, s.cmd.Start())
	go func() { defer close(s.done); _ = s.cmd.Wait() }() // how it ended is in ProcessState
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has ended, or is to end now
		<-s.done
		if t.Failed() {
			t.Logf("log of rpmflow s3:\n%s", s.log)
		}
	})
	return s
}

// ended waits for the end, and returns the exit code.
func (s *server) ended(t *testing.T) int {
	t.Helper()
	testkit.Receive(t, "its end", s.done)
	return s.cmd.ProcessState.ExitCode()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (s *server) waitHealthy(t *testing.T, address string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	testkit.Eventually(t, "an answer", func() bool {
		select {
		case <-s.done:
			t.Fatal("it has ended")
		default:
		}
		resp, err := client.Get("http://" + address + "/health")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
}

func TestS3Server(t *testing.T) {
	t.Parallel()
	address, dir := freeAddress(t), t.TempDir()
	env := []string{
		"RPMFLOW_DATA_DIR=" + dir, "RPMFLOW_GATEWAY_LISTEN=" + address, "RPMFLOW_S3_BUCKET=packages",
		"RPMFLOW_S3_REGION=eu-central-1",
		"RPMFLOW_S3_ACCESS_KEY=root", "RPMFLOW_S3_SECRET_KEY=root-secret",
		"RPMFLOW_GATEWAY_BUILDER_SECRET_KEY=builder-secret", "RPMFLOW_GATEWAY_LISTENER_SECRET_KEY=listener-secret",
		"RPMFLOW_NATS_PASSWORD_ENV=SECRET_OF_ANOTHER_PROGRAM",
	}
	access := func(role string) *storage.Store {
		t.Helper()
		s, err := storage.Open(storage.Config{
			Endpoint: "http://" + address, Region: "eu-central-1", Bucket: "packages", AccessKey: role,
			SecretKey: role + "-secret", CreateBucket: true,
			Logger: slog.New(slog.DiscardHandler),
		})
		testkit.Must(t, err)
		t.Cleanup(s.Close)
		return s
	}
	for i, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := startS3(t, env...)
		s.waitHealthy(t, address)
		builder, listener := access("builder"), access("listener")
		testkit.Must(t, errors.Join(builder.Ensure(t.Context()), listener.Ensure(t.Context())))
		if i == 0 {
			testkit.Must(t, builder.PutJSON(t.Context(), "builds/a", "text"))
		}
		body, _, err := listener.Open(t.Context(), "builds/a")
		testkit.Must(t, err)
		text, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil || string(text) != "\"text\"\n" {
			t.Errorf("%q, %v", text, err)
		}
		if err := listener.PutJSON(t.Context(), "builds/b", 1); !errors.Is(err, storage.ErrRefused) {
			t.Errorf("the listener writes: %v", err)
		}
		if err := access("publisher").Healthy(t.Context()); !errors.Is(err, storage.ErrCredentials) {
			t.Errorf("an account without a key: %v", err)
		}

		second := startS3(t, append(env, "RPMFLOW_DATA_DIR="+t.TempDir())...)
		if code := second.ended(t); code != 1 || !strings.Contains(second.log.String(),
			"set gateway.listen to another address") {
			t.Errorf("a second one on the port: exit code %d, %s", code, second.log)
		}

		testkit.Must(t, s.cmd.Process.Signal(sig))
		if code := s.ended(t); code != 0 {
			t.Errorf("exit code %d after %v", code, sig)
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			t.Error("a process still listens")
		}
		if strings.Contains(s.log.String(), "secret") {
			t.Errorf("the log has a secret: %s", s.log)
		}
	}
}

func TestS3ServerRefuses(t *testing.T) {
	t.Parallel()
	s := startS3(t, "RPMFLOW_DATA_DIR="+t.TempDir(), "RPMFLOW_GATEWAY_LISTEN="+freeAddress(t))
	if code := s.ended(t); code != 1 || !strings.Contains(s.log.String(), "set s3.access_key and s3.secret_key") {
		t.Errorf("without keys: exit code %d, %s", code, s.log)
	}
}

func TestConfigS3(t *testing.T) {
	run := func(args ...string) (string, error) {
		cmd := command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"config", "s3"}, args...))
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	t.Chdir(t.TempDir())
	testkit.Must(t, os.WriteFile("rpmflow.yaml", []byte("s3:\n  bucket: packages\n"), 0o600))
	for _, test := range []struct {
		args       []string
		has, hasNo []string
	}{
		{nil, []string{`"arn:aws:s3:::packages/builds/*"`, `"listener"`, `"builder"`, `"publisher"`}, nil},
		{[]string{"--bucket", "b", "--principal", "builder=arn:aws:iam:::user/b"},
			[]string{`"arn:aws:s3:::b/sources/*"`, `"arn:aws:iam:::user/b"`}, []string{"repos", "packages"}},
		{
			[]string{"--role", "listener"}, // writes what is uploaded to it, and reads everything else
			[]string{
				"[\n        \"s3:GetObject\"\n      ],\n      \"Resource\": [\n        " +
					"\"arn:aws:s3:::packages/builds/*\"",
				`"arn:aws:s3:::packages/uploads/*"`,
			},
			[]string{"Principal", "s3:DeleteObject", "sources"},
		},
	} {
		got, err := run(test.args...)
		if err != nil || !json.Valid([]byte(got)) {
			t.Errorf("%v: %s, %v", test.args, got, err)
		}
		for _, s := range test.has {
			if !strings.Contains(got, s) {
				t.Errorf("%v: %s is missing in\n%s", test.args, s, got)
			}
		}
		for _, s := range test.hasNo {
			if strings.Contains(got, s) {
				t.Errorf("%v: %s is in\n%s", test.args, s, got)
			}
		}
	}
	for _, args := range [][]string{
		{"--role", "admin"}, {"--principal", "builder"}, {"--principal", "nobody=x"}, {"--principal", "=x"},
		{"--role", "builder", "--principal", "builder=x"},
	} {
		if _, err := run(args...); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
