package source

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Access is what a repository wants to see before it lets us read, beyond what its URL says. None of it is ever repeated.
type Access struct {
	// Token is the password over http and https, for the user of the URL or, without one, for the user x-access-token.
	Token string
	// SSHKeyFile is a private key without a passphrase. Empty: the ssh agent's keys and the usual ones in ~/.ssh.
	SSHKeyFile string
	// KnownHostsFile has the keys of ssh servers. Empty: ~/.ssh/known_hosts, or what SSH_KNOWN_HOSTS names, and the system's.
	KnownHostsFile string
}

// tokenUser stands for a user where there is only a token. GitHub asks for this one with the tokens of its apps; others take any.
const tokenUser = "x-access-token"

// with gives the remote the means to get in.
func (r *remote) with(a Access) *remote {
	r.access = a
	if a.Token != "" && !r.ssh && r.path == "" {
		r.secrets = append(r.secrets, a.Token, url.QueryEscape(a.Token), url.PathEscape(a.Token))
	}
	if header := r.authorization(); header != "" {
		r.secrets = append(r.secrets, strings.TrimPrefix(header, "Authorization: Basic "))
	}
	return r
}

// authorization is the header that lets us in over http and https; "" where we have nothing to show.
func (r *remote) authorization() string {
	if r.ssh || r.path != "" {
		return ""
	}
	u, err := url.Parse(r.url)
	if err != nil {
		return ""
	}
	user, password, ok := u.User.Username(), "", false
	if password, ok = u.User.Password(); !ok {
		password = r.access.Token
	}
	if user == "" && password == "" {
		return ""
	}
	if user == "" {
		user = tokenUser
	}
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// address is what git is called with. It holds no secret: command lines can be read by everybody on the machine.
func (r *remote) address() string {
	if r.path != "" {
		return r.path
	}
	// git@host:2222:/path is not git's own form, but has worked here.
	if m := scpForm.FindStringSubmatch(r.url); r.ssh && m != nil && !strings.Contains(r.url, "://") {
		if port := scpPort.FindStringSubmatch(m[3]); port != nil {
			return "ssh://" + sshUser(m[1]) + "@" + m[2] + ":" + port[1] + port[2]
		}
		return sshUser(m[1]) + "@" + m[2] + ":" + m[3]
	}
	if r.ssh && r.user == "" {
		return strings.Replace(r.clean, "://", "://"+sshUser("")+"@", 1)
	}
	return r.clean
}

var scpPort = regexp.MustCompile(`^([0-9]+):(/.*)$`)

// sshUser is who we are where the URL does not say: not the user that the program happens to run as.
func sshUser(user string) string {
	if user == "" {
		return "git"
	}
	return user
}

// environment is what git needs beside its own environment to reach the remote: the one protocol that may be spoken, and
// secrets, which have no place on a command line.
func (r *remote) environment() ([]string, error) {
	switch {
	case r.path != "":
		return []string{"GIT_ALLOW_PROTOCOL=file"}, nil
	case r.ssh:
		return r.sshEnvironment()
	}
	env := []string{"GIT_ALLOW_PROTOCOL=http:https"}
	u, err := url.Parse(r.clean)
	if err != nil {
		return nil, fmt.Errorf("repository %s: malformed URL", r.clean)
	}
	if strings.EqualFold(u.Scheme, "https") {
		env = []string{"GIT_ALLOW_PROTOCOL=https"} // no way down to plain text, wherever the server sends us
	}
	if header := r.authorization(); header != "" {
		// For this host only: a redirect must not carry it elsewhere.
		scope := strings.ToLower(u.Scheme) + "://" + u.Host + "/"
		env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http."+scope+".extraHeader", "GIT_CONFIG_VALUE_0="+header)
	}
	proxies := []string{"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"}
	if r.client != nil { // the way is another one
		proxies = nil
	}
	for _, name := range append(proxies, "GIT_SSL_CAINFO", "GIT_SSL_CAPATH") {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	if v := os.Getenv("SSL_CERT_FILE"); v != "" { // as Go's programs are told
		env = append(env, "GIT_SSL_CAINFO="+v)
	}
	return env, nil
}

// sshEnvironment tells ssh to heed nobody's configuration, to ask nothing, and to talk to known servers only.
func (r *remote) sshEnvironment() ([]string, error) {
	env := []string{"GIT_ALLOW_PROTOCOL=ssh", "GIT_SSH_VARIANT=ssh"}
	words := []string{"ssh", "-F", "none"}
	for _, option := range []string{"BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no", "ConnectTimeout=30", "ServerAliveInterval=15",
		"ServerAliveCountMax=4", "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no"} {
		words = append(words, "-o", option)
	}
	home, homeErr := os.UserHomeDir()
	known := r.access.KnownHostsFile
	if known != "" {
		words = append(words, "-o", "GlobalKnownHostsFile=/dev/null")
	} else if known = os.Getenv("SSH_KNOWN_HOSTS"); known == "" && homeErr == nil {
		known = filepath.Join(home, ".ssh", "known_hosts")
	}
	if known != "" {
		words = append(words, "-o", "UserKnownHostsFile="+sshPath(known))
	}
	if key := r.access.SSHKeyFile; key != "" {
		f, err := os.Open(key) // ssh would go on without it, and be refused for want of a key
		if err != nil {
			return nil, fmt.Errorf("reading the ssh key: %w", err)
		}
		_ = f.Close() // only looked at
		words = append(words, "-o", "IdentitiesOnly=yes", "-o", "IdentityFile="+sshPath(key))
	} else {
		agent := os.Getenv("SSH_AUTH_SOCK")
		if agent != "" {
			env = append(env, "SSH_AUTH_SOCK="+agent)
		}
		found := agent != ""
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			key := filepath.Join(home, ".ssh", name)
			if _, err := os.Stat(key); homeErr == nil && err == nil {
				words, found = append(words, "-o", "IdentityFile="+sshPath(key)), true
			}
		}
		if !found {
			return nil, errNoKey
		}
	}
	for i, word := range words {
		words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return append(env, "GIT_SSH_COMMAND="+strings.Join(words, " ")), nil
}

// sshPath keeps ssh from splitting the path at spaces, and from expanding %h and the like.
func sshPath(path string) string { return `"` + strings.ReplaceAll(path, "%", "%%") + `"` }
