package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/nats-io/nkeys"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/events"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// The ways in which users of NATS log in.
const (
	authEnv      = "env"
	authPassword = "password"
	authNKey     = "nkey"
)

func configNATSCommand() *cobra.Command {
	var auth, out string
	var subscribers []string
	var force bool
	cmd := &cobra.Command{
		Use: "nats", Short: "Make the accounts of the NATS servers: a user for each program, with the rights it needs",
		Args: cobra.NoArgs,
		Long: `Makes the part of the configuration of nats-server with users and their rights (include
"accounts.conf"). The users are listener, builder, publisher, admin (may do everything with the streams),
system (for commands about the servers), and subscribers, which may read finished builds and publications only. Without
--subscriber there is one named subscriber.

  --auth env        the file has no secrets: the servers read passwords from their environment,
                    NATS_LISTENER_PASSWORD and so on
  --auth password   makes passwords: hashes of them go into accounts.conf, the passwords into USER.env for the user's
                    program
  --auth nkey       makes keys: public ones go into accounts.conf, the seeds into USER.nk, and USER.env names them

Secrets in the directory are kept, so that a subscriber can be added later; --force makes new ones.`,
		Example: "  rpmflow config nats > accounts.conf\n  rpmflow config nats --auth nkey --subscriber mirror " +
			"--subscriber mail --out /etc/rpmflow/nats",
	}
	f := cmd.Flags()
	f.StringVar(&auth, "auth", authEnv, "how users log in: env, password or nkey")
	f.StringArrayVar(&subscribers, "subscriber", []string{string(rpmflow.RoleSubscriber)},
		"name of a subscriber (may be repeated)")
	f.StringVar(&out, "out", "", "directory for the files; with --auth env the accounts are printed when it is empty")
	f.BoolVar(&force, "force", false, "replace existing secrets by new ones")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkSubscribers(subscribers); err != nil {
			return err
		}
		if !slices.Contains([]string{authEnv, authPassword, authNKey}, auth) {
			return hint.Add(fmt.Errorf("--auth %q", auth), "write env, password or nkey")
		}
		if auth == authEnv && out == "" {
			text, err := accountsFile(subscribers, envLogin, envHeader)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		}
		if out == "" {
			return hint.Add(fmt.Errorf("--auth %s writes secrets", auth), "name a directory for them with --out")
		}
		d, err := openSecretDir(out, force)
		if err != nil {
			return err
		}
		login, header := envLogin, envHeader
		switch auth {
		case authPassword:
			login, header = d.passwordLogin, "# The passwords are those of the .env files, hashed.\n"
		case authNKey:
			login, header = d.nkeyLogin, "# The keys are the public ones of the seeds in the .nk files.\n"
		}
		text, err := accountsFile(subscribers, login, header)
		if err != nil {
			return err
		}
		if err := d.write("accounts.conf", text, 0o644); err != nil {
			return err
		}
		fmt.Fprint(cmd.OutOrStdout(), d.report(auth, subscribers))
		return nil
	}
	return cmd
}

// checkSubscribers accepts names that listener.subscribers accepts and that no other user has.
func checkSubscribers(names []string) error {
	taken := events.Accounts{}.Users()
	variables := map[string]string{}
	valid := regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)
	for _, name := range names {
		if !valid.MatchString(name) {
			return hint.Add(fmt.Errorf("--subscriber %q", name), "write letters, digits, . _ and -")
		}
		if slices.Contains(taken, name) {
			return hint.Add(fmt.Errorf("--subscriber %s: there is such a user already", name), "use another name")
		}
		v := passwordVariable(name)
		if other, ok := variables[v]; ok {
			return hint.Add(fmt.Errorf("--subscriber %s: %s would be that of subscriber %s as well", name, v, other),
				"use another name")
		}
		taken, variables[v] = append(taken, name), name
	}
	return nil
}

// accountsFile is the whole file. Errors of logins are returned with it.
func accountsFile(subscribers []string, login func(user string) (string, error), header string) (string, error) {
	var failed error
	accounts := events.Accounts{Subscribers: subscribers, Login: func(user string) string {
		s, err := login(user)
		failed = errors.Join(failed, err)
		return s
	}}
	const title = "# The accounts of rpmflow on its NATS servers. Do not edit: run `rpmflow config nats` again.\n"
	return title + header + "\n" + accounts.Config(), failed
}

const envHeader = `# The passwords come from the servers' environment. A server reads such a value as if it were
# written here: 1234 would be a number, and a password with # or { an error. So put each into double quotes that are
# part of the value, NATS_LISTENER_PASSWORD='"SECRET"'. Use letters and digits only, and no empty password. In a compose
# file write NATS_LISTENER_PASSWORD: '"${NATS_LISTENER_PASSWORD:?}"'.
`

func envLogin(user string) (string, error) {
	return fmt.Sprintf("user: %q, password: $%s", user, passwordVariable(user)), nil
}

// passwordVariable is the environment variable of a user's password. The users admin and system share one.
func passwordVariable(user string) string {
	if user == events.UserSystem {
		user = string(rpmflow.RoleAdmin)
	}
	return "NATS_" + strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(user)) + "_PASSWORD"
}

// secretDir is the directory for the files.
type secretDir struct {
	path    string
	force   bool
	written []string
	kept    []string
}

func openSecretDir(path string, force bool) (*secretDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return &secretDir{path: path, force: force}, nil
}

// read returns a file's text, or nothing if there is none or a new one is wanted.
func (d *secretDir) read(name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) || d.force && err == nil {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("secrets of NATS users: %w", err)
	}
	return string(raw), nil
}

// write replaces a file as a whole, so that none is left half written.
func (d *secretDir) write(name, text string, mode fs.FileMode) error {
	err := renameio.WriteFile(filepath.Join(d.path, name), []byte(text), mode, renameio.WithStaticPermissions(mode),
		renameio.WithTempDir(d.path))
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(d.path, name), err)
	}
	d.written = append(d.written, name)
	return nil
}

// secret writes a new file. An existing file with other content is of another kind of login and may contain a secret:
// it is not replaced.
func (d *secretDir) secret(name, text string) error {
	had, err := d.read(name)
	switch {
	case err != nil:
		return err
	case had == text:
		d.kept = append(d.kept, name)
		return nil
	case had != "":
		return hint.Add(fmt.Errorf("%s exists and has other content", filepath.Join(d.path, name)),
			"name an empty directory, or replace the file with --force")
	}
	return d.write(name, text, 0o600)
}

func (d *secretDir) passwordLogin(user string) (string, error) {
	had, err := d.read(user + ".env")
	if err != nil {
		return "", err
	}
	_, password, _ := strings.Cut(had, "\nRPMFLOW_NATS_PASSWORD=")
	if password, _, _ = strings.Cut(password, "\n"); password == "" {
		password = rand.Text()
	}
	text := fmt.Sprintf("# The login of %s, for the environment of its program.\nRPMFLOW_NATS_USER=%s\n"+
		"RPMFLOW_NATS_PASSWORD=%s\n", user, user, password)
	if err := d.secret(user+".env", text); err != nil {
		return "", err
	}
	// The lowest cost is enough for a random password, and the servers pay it at every login.
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", fmt.Errorf("hash the password of %s: %w", user, err)
	}
	return fmt.Sprintf("user: %q, password: %q", user, hash), nil
}

func (d *secretDir) nkeyLogin(user string) (string, error) {
	seed, err := d.read(user + ".nk")
	if err != nil {
		return "", err
	}
	if seed = strings.TrimSpace(seed); seed == "" {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return "", fmt.Errorf("make the key of %s: %w", user, err)
		}
		made, err := pair.Seed()
		if err != nil {
			return "", fmt.Errorf("make the key of %s: %w", user, err)
		}
		seed = string(made)
	}
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return "", fmt.Errorf("%s: %w: it must contain a user's seed; remove it to get a new one",
			filepath.Join(d.path, user+".nk"), err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(d.path, user+".nk"), err)
	}
	if err := d.secret(user+".nk", seed+"\n"); err != nil {
		return "", err
	}
	text := fmt.Sprintf("# The login of %s, for the environment of its program.\nRPMFLOW_NATS_NKEY_FILE=%s\n",
		user, filepath.Join(d.path, user+".nk"))
	return fmt.Sprintf("nkey: %s", public), d.secret(user+".env", text)
}

// report names the files and what to do with them.
func (d *secretDir) report(auth string, subscribers []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: written: %s\n", d.path, strings.Join(d.written, ", "))
	if len(d.kept) > 0 {
		fmt.Fprintf(&b, "kept: %s\n", strings.Join(d.kept, ", "))
	}
	fmt.Fprintf(&b, "Next: include %s in the configuration of every NATS server, "+
		"and reload them (nats-server --signal reload).\n", filepath.Join(d.path, "accounts.conf"))
	if auth == authEnv {
		b.WriteString("Set the passwords in the servers' environment as described in the file, " +
			"and RPMFLOW_NATS_USER and RPMFLOW_NATS_PASSWORD in that of each program.\n")
	} else {
		b.WriteString("Give each program the .env file of its user, and no other file. Keep the files secret.\n")
	}
	fmt.Fprintf(&b, "Set listener.subscribers to %s: the listener keeps their consumers.\n",
		strings.Join(subscribers, ","))
	return b.String()
}
