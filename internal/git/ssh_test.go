package git

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/giturl"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
	"github.com/rpmflow/rpmflow/internal/testkit/sshtest"
)

// sshHome makes a home directory with a key and, of a server, what makes it known.
func sshHome(t *testing.T, server *sshtest.Server) string {
	t.Helper()
	home, key, known := t.TempDir(), "", "# empty\n"
	if server != nil {
		key, known = server.Allow(t), server.Known()
	} else {
		key = sshtest.Key(t)
	}
	testkit.Write(t, filepath.Join(home, ".ssh", "known_hosts"), known)
	testkit.Write(t, filepath.Join(home, ".ssh", "id_ed25519"), key)
	testkit.Must(t, os.Chmod(filepath.Join(home, ".ssh", "id_ed25519"), 0o600))
	t.Setenv("SSH_KNOWN_HOSTS", filepath.Join(home, ".ssh", "known_hosts"))
	return home
}

// newSSHServer serves git-upload-pack to the one key that is allowed.
func newSSHServer(t *testing.T) *sshtest.Server {
	t.Helper()
	return sshtest.New(t, "git", func(command string, channel ssh.Channel) uint32 {
		if !strings.HasPrefix(command, "git-upload-pack ") {
			return 127
		}
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = gittest.Env()
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		in, err := cmd.StdinPipe()
		if err != nil || cmd.Start() != nil {
			return 127
		}
		go func() { io.Copy(in, channel); in.Close() }() // until the channel is closed
		if cmd.Wait() != nil {
			return 128
		}
		return 0
	})
}

func TestSSH(t *testing.T) {
	server := newSSHServer(t)
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HOME", sshHome(t, server))
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"data": "T"})
	for _, url := range []string{
		"ssh://git@" + server.Addr + w.Dir, "ssh://" + server.Addr + w.Dir, "git+ssh://git@" + server.Addr + w.Dir,
		"git@[" + server.Addr + "]:" + w.Dir, "[git@" + server.Addr + "]:" + w.Dir,
	} {
		req := Request{Project: "hello", URL: url, Ref: "refs/heads/main", Commit: commit}
		if got := mustRead(t, newMirrors(t), req); got != "T" {
			t.Errorf("%s: got %q", url, got)
		}
		if _, got, err := Resolver(nil)(t.Context(), url, "main"); err != nil || got != commit {
			t.Errorf("%s: got %s, %v", url, got, err)
		}
	}
	_, _, err := Resolver(nil)(t.Context(), "ssh://git@"+server.Addr+"/nothing", "main")
	failtest.Want(t, err, rpmflow.FailureSource, "not found")
	_, _, err = Resolver(nil)(t.Context(), "ssh://other@"+server.Addr+w.Dir, "main")
	failtest.Want(t, err, rpmflow.FailureSource, "authentication refused")

	t.Setenv("HOME", sshHome(t, nil))
	_, _, err = Resolver(nil)(t.Context(), "ssh://git@"+server.Addr+w.Dir, "main")
	failtest.WantOther(t, err) // the server is not known: a matter of our set-up, or of an attack
	t.Setenv("HOME", t.TempDir())
	_, _, err = Resolver(nil)(t.Context(), "ssh://git@"+server.Addr+w.Dir, "main")
	failtest.Want(t, err, rpmflow.FailureSource, "no ssh agent")
}

// A project's own key and list of servers are used instead of the usual ones, wherever they are.
func TestSSHKeyOfTheProject(t *testing.T) {
	server := newSSHServer(t)
	t.Setenv("SSH_AUTH_SOCK", "")
	home := sshHome(t, server)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SSH_KNOWN_HOSTS", "")
	dir := filepath.Join(t.TempDir(), "it's a 100%h place")
	testkit.Must(t, os.Rename(filepath.Join(home, ".ssh"), dir))
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"data": "T"})
	url := "ssh://git@" + server.Addr + w.Dir
	resolve := func(a Access) (string, error) {
		_, got, err := Resolver(func(giturl.URL) Access { return a })(t.Context(), url, "main")
		return got, err
	}
	own := Access{SSHKeyFile: filepath.Join(dir, "id_ed25519"), KnownHostsFile: filepath.Join(dir, "known_hosts")}
	if got, err := resolve(own); err != nil || got != commit {
		t.Errorf("got %s, %v", got, err)
	}
	_, err := resolve(Access{})
	failtest.Want(t, err, rpmflow.FailureSource, "no ssh agent")
	_, err = resolve(Access{SSHKeyFile: own.SSHKeyFile})
	failtest.WantOther(t, err)
	if !strings.Contains(err.Error(), "Host key verification failed") {
		t.Errorf("got %v", err)
	}
	_, err = resolve(Access{SSHKeyFile: own.SSHKeyFile + "-none", KnownHostsFile: own.KnownHostsFile})
	failtest.WantOther(t, err)
	stranger := filepath.Join(sshHome(t, nil), ".ssh", "id_ed25519")
	_, err = resolve(Access{SSHKeyFile: stranger, KnownHostsFile: own.KnownHostsFile})
	failtest.Want(t, err, rpmflow.FailureSource, "authentication refused")
}
