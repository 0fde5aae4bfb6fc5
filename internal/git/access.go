package git

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Access is the credentials for a repository beyond those in its URL. None of them is ever repeated.
type Access struct {
	// User is who reads it over http and https, unless its URL says it; nil: nobody in particular.
	User *url.Userinfo
	// Token is the password of a user without one or, without a user, of x-access-token.
	Token string
	// SSHKeyFile is a private key without a passphrase. Empty: the ssh agent's keys and the usual ones in ~/.ssh.
	SSHKeyFile string
	// KnownHostsFile has the keys of ssh servers. Empty: ~/.ssh/known_hosts, or what SSH_KNOWN_HOSTS names, and the
	// system's.
	KnownHostsFile string
}

// tokenUser is the user if there is only a token. GitHub requires this one with the tokens of its apps; others accept
// any.
const tokenUser = "x-access-token"

// with adds the remote's credentials.
func (r *remote) with(a Access) *remote {
	r.access = a
	if r.web() && r.url.User == nil {
		r.url = r.url.WithUser(a.User)
		r.secrets = r.url.Secrets()
	}
	if a.Token != "" && r.web() {
		r.secrets = append(r.secrets, a.Token, url.QueryEscape(a.Token), url.PathEscape(a.Token))
	}
	if header := r.authorization(); header != "" {
		r.secrets = append(r.secrets, strings.TrimPrefix(header, "Basic "))
	}
	return r
}

// web reports whether the remote is reached over http or https.
func (r *remote) web() bool { return !r.ssh() && !r.url.Local() }

// authorization is the value of that header over http and https; "" without credentials.
func (r *remote) authorization() string {
	if !r.web() {
		return ""
	}
	return basic(r.url.User, r.access.Token)
}

// basic is the authorization of a user; the token is the password if the URL has none. "" without both.
func basic(u *url.Userinfo, token string) string {
	password, ok := u.Password()
	if !ok {
		password = token
	}
	user := u.Username()
	if user == "" && password == "" {
		return ""
	}
	if user == "" {
		user = tokenUser
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// address is what git is called with. It holds no secret: command lines can be read by everybody on the machine.
func (r *remote) address() string {
	if p := r.path(); p != "" {
		return p
	}
	return r.url.Address("git") // not the user that the program happens to run as
}

// environment is what git needs in addition to its own environment to reach the remote: the one protocol that may be
// spoken, and secrets, which must not be on a command line.
func (r *remote) environment() ([]string, error) {
	switch {
	case r.url.Local():
		return []string{"GIT_ALLOW_PROTOCOL=file"}, nil
	case r.ssh():
		return r.sshEnvironment()
	}
	env := []string{"GIT_ALLOW_PROTOCOL=http:https"}
	if r.url.Scheme == "https" {
		env = []string{"GIT_ALLOW_PROTOCOL=https"} // not plain text, wherever the server redirects to
	}
	if header := r.authorization(); header != "" {
		// For this host only: a redirect must not carry it elsewhere.
		scope := r.url.Scheme + "://" + r.url.Web().Host + "/"
		env = append(env, "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http."+scope+".extraHeader",
			"GIT_CONFIG_VALUE_0=Authorization: "+header)
	}
	proxies := []string{"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"}
	if r.dial != nil { // git goes through a proxy of this program
		proxies = nil
	}
	for _, name := range append(proxies, "GIT_SSL_CAINFO", "GIT_SSL_CAPATH") {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	if v := os.Getenv("SSL_CERT_FILE"); v != "" { // the name that programs in Go use
		env = append(env, "GIT_SSL_CAINFO="+v)
	}
	return env, nil
}

// sshEnvironment has ssh read no configuration, ask nothing, and connect to known servers only.
func (r *remote) sshEnvironment() ([]string, error) {
	env := []string{"GIT_ALLOW_PROTOCOL=ssh", "GIT_SSH_VARIANT=ssh"}
	words := []string{"ssh", "-F", "none"}
	for _, option := range []string{"BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no",
		"ConnectTimeout=30", "ServerAliveInterval=15", "ServerAliveCountMax=4", "ForwardAgent=no", "ForwardX11=no",
		"ClearAllForwardings=yes",
		"PermitLocalCommand=no"} {
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
		f, err := os.Open(key) // without it ssh would continue, and be refused
		if err != nil {
			return nil, fmt.Errorf("reading the ssh key: %w", err)
		}
		_ = f.Close() // it was not written
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
