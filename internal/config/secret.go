package config

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Secret is a value that no log, dump or error may show: printing it in any way gives "(set)" or nothing.
// string(s) is the value itself.
type Secret string

// redacted stands for a secret wherever one would be printed.
const redacted = "(set)"

// maxSecret bounds what is read from a secret's file: keys and tokens are far smaller.
const maxSecret = 64 << 10

// envName is a variable's name by the usual convention. What does not look like one may be the secret itself, put where
// its reference belongs, and is not repeated in errors.
var envName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// String is "(set)" if there is a secret, else empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString does the same for %#v.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalText does the same for JSON, YAML and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// secret makes the three keys of one secret: its value, the file and the environment variable that holds it. At most
// one of them is not empty when they are applied: merging the layers ensures it. Only the readers get the secret;
// without readers no program does.
func secret[T ~string](l *loader, path, doc string, dst *T, readers ...Program) []setting {
	value := func(read func(in input) (string, error)) func(in input) error {
		return func(in input) error {
			if in.values[0] == "" || !slices.Contains(readers, l.program) {
				return nil
			}
			v, err := read(in)
			if err == nil {
				*dst = T(v)
			}
			return err
		}
	}
	return []setting{
		{path: path, doc: doc, group: path, field: field{
			typ: "secret", secret: true,
			set: value(func(in input) (string, error) {
				if in.values[0] == redacted {
					return "", fmt.Errorf("%s is what a dump shows instead of the secret: "+
						"write the secret itself, or use %s_file or %s_env", redacted, leaf(path), leaf(path))
				}
				return in.values[0], nil
			}),
			get: func() []string { return []string{Secret(*dst).String()} },
		}},
		{path: path + "_file",
			doc: "File that holds it instead; a newline at its end is not part of it.", group: path, field: field{
				typ: "path", set: value(func(in input) (string, error) { return l.secretFile(in) }),
			}},
		{path: path + "_env", doc: "Environment variable that holds it instead.", group: path, field: field{
			typ: "variable", set: value(func(in input) (string, error) { return l.secretEnv(in.values[0]) }),
		}},
	}
}

func (l *loader) secretFile(in input) (string, error) {
	path, err := in.path()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%w: write the secret into that file, or name another", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("%w: name a file", err)
	}
	if len(b) > maxSecret {
		return "", fmt.Errorf("%s is larger than %s: name a file that contains only the secret", path, Size(maxSecret))
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if s == "" {
		return "", fmt.Errorf("%s is empty: write the secret into it", path)
	}
	// With publisher.signing_command the file of the signing key has public halves only.
	public := strings.Contains(s, "BEGIN PGP PUBLIC KEY") && !strings.Contains(s, "PRIVATE")
	if info.Mode().Perm()&0o004 != 0 && !public {
		l.warn("secret file %s can be read by all users of this machine: chmod o-r it", path)
	}
	return s, nil
}

func (l *loader) secretEnv(name string) (string, error) {
	shown := "the variable that it names"
	if envName.MatchString(name) {
		shown = name
	}
	switch v, ok := l.env[name]; {
	case !ok:
		return "", fmt.Errorf("%s is not in the environment: set it to the secret, or name another variable", shown)
	case v == "":
		return "", fmt.Errorf("%s is empty: set it to the secret", shown)
	default:
		return v, nil
	}
}

// oneWayEach refuses a layer that sets a secret in more than one way. The way that it uses replaces those of weaker
// layers: a password file from the environment replaces a password in the file.
func (l *loader) oneWayEach(scope string, settings []setting, in layer) {
	ways := map[string][]string{}
	for _, s := range settings {
		g, ok := in[s.path]
		if !ok || s.group == "" || g.bad || g.values[0] == "" {
			continue
		}
		ways[s.group] = append(ways[s.group], s.path)
		if strings.HasSuffix(s.path, "_env") {
			l.referenced[g.values[0]] = true
		}
	}
	for _, s := range settings {
		set := ways[s.group]
		if len(set) == 0 {
			continue
		}
		if len(set) > 1 && s.path == set[0] {
			l.problem(in[set[len(set)-1]].from, within(scope, s.group), fmt.Errorf("is set in more than one way (%s): "+
				"keep one of them", strings.Join(set, ", ")))
		}
		if g, ok := in[s.path]; !ok || len(set) > 1 {
			in[s.path] = given{values: []string{""}, from: cmp.Or(g.from, in[set[0]].from), bad: len(set) > 1}
		}
	}
}

// leaf is a key without its sections.
func leaf(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
