package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/hint"
)

// ours is the line that makes a hook one that announces pushes, also among others.
func ours() *regexp.Regexp { return regexp.MustCompile(`(?m)^[^#\n]*\bhook post-receive\b`) }

// oldHook begins the shell script that was copied to hooks/post-receive by hand.
const oldHook = "#!/bin/sh\n# post-receive hook: tells rpmflow of every ref that was pushed, signed with the " +
	"project's webhook secret.\n"

// Install makes a repository announce its pushes: hooks/post-receive becomes a call of the program, and the
// repository's configuration has the listener's URL and the file with the secret. Done again it changes nothing.
func Install(ctx context.Context, dir, program, to, secretFile string, out io.Writer) error {
	if err := checkURL(to); err != nil {
		return err
	}
	secretFile, err := filepath.Abs(secretFile)
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	if err := checkSecret(secretFile); err != nil {
		return err
	}
	r, err := find(ctx, dir)
	if err != nil {
		return err
	}
	file, err := r.gitPath(ctx, "hooks/post-receive")
	if err != nil {
		return err
	}
	if !strings.HasPrefix(file, r.Dir+string(filepath.Separator)) {
		return hint.Add(fmt.Errorf("the hooks of %s are in %s, which other repositories may use, too (core.hooksPath)",
			r.Dir,
			filepath.Dir(file)),
			fmt.Sprintf("give it hooks of its own, and install again: git -C %s config core.hooksPath %s", r.Dir,
				filepath.Join(r.Dir, "hooks")))
	}
	if err := place(file, program); err != nil {
		return err
	}
	for _, kv := range [][2]string{{keyURL, to}, {keySecretFile, secretFile}} {
		if _, err := git(ctx, r.Dir, "config", kv[0], kv[1]); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%s: pushes are announced to %s\n", r.Dir, to)
	return err
}

// place writes the hook, unless another program's is there.
func place(file, program string) error {
	hook := "#!/bin/sh\nexec " + quote(program) + " hook post-receive\n"
	there, err := os.ReadFile(file) // #nosec G304 -- a hook of the repository that the user names
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("hook: %w", err)
	case string(there) == hook || strings.HasPrefix(string(there), oldHook):
	case strings.Count(string(there), "\n") <= 2 && ours().Match(there): // another place of the program
	case ours().Match(there): // within a hook that does other things, too
		return nil
	default:
		return hint.Add(fmt.Errorf("%s is there already, and is not overwritten", file),
			fmt.Sprintf("add this line to it, where its standard input is still unread, and install again: %s hook "+
				"post-receive", quote(program)))
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { // #nosec G301 -- as git makes it
		return fmt.Errorf("hook: %w", err)
	}
	if err := replace(file, []byte(hook), 0o755); err != nil {
		return fmt.Errorf("hook: %w", err)
	}
	return nil
}

// argument is s as one can paste it into a shell.
func argument(s string) string {
	if plain.MatchString(s) {
		return s
	}
	return quote(s)
}

var plain = regexp.MustCompile(`^[\pL\pN_./:@%+=,-]+$`)

// quote makes one word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil {
		_, project, ok := strings.Cut(u.Path, "/hooks/generic/")
		if ok && rpmflow.CheckProjectName(project) == nil {
			return nil
		}
	}
	return hint.Add(errors.New("--url is not the address at which a listener takes a project's pushes"),
		"write http://HOST/hooks/generic/PROJECT, with the project's name at its end")
}

// checkSecret requires a file that others cannot read. A group may: those who share the repository push as themselves.
func checkSecret(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return hint.Add(fmt.Errorf("secret: %w", err), "name the file that secret_file of the project has, or a copy")
	}
	switch {
	case !info.Mode().IsRegular():
		return hint.Add(fmt.Errorf("secret: %s is not a file", file), "name the file with the project's webhook secret")
	case info.Mode().Perm()&0o027 != 0:
		return hint.Add(fmt.Errorf("secret: others can read or write %s (mode %04o)", file, info.Mode().Perm()),
			"chmod 600 "+file)
	}
	_, err = readSecret(file)
	return err
}
