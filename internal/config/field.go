package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/checksum"
	"github.com/rpmflow/rpmflow/internal/nearest"
	"github.com/rpmflow/rpmflow/internal/pathmatch"
)

// field binds a key to the place in Config that it fills: set parses what was given, get returns it as text.
type field struct {
	typ          string // as the documentation calls it
	list, secret bool
	set          func(in input) error // its errors name value and way out; the caller adds place and key
	get          func() []string      // nil for a key that only refers to another's value
}

// input is what one key was given. values has exactly one element unless the field is a list.
type input struct {
	values []string
	dir    string // where relative paths start
}

// path makes the value an absolute path: the working directory may change later (the embedded storage changes it).
func (in input) path() (string, error) {
	p := in.values[0]
	if err := printable(p); err != nil {
		return "", err
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(in.dir, p)
	}
	return filepath.Abs(p)
}

func one[T any](dst *T, typ string, parse func(string) (T, error), show func(T) string) field {
	return field{
		typ: typ,
		set: func(in input) error {
			v, err := parse(in.values[0])
			if err == nil {
				*dst = v
			}
			return err
		},
		get: func() []string { return []string{show(*dst)} },
	}
}

// many is a list; each of its elements is checked.
func many(dst *[]string, typ string, check func(string) error) field {
	return field{
		typ: typ, list: true,
		set: func(in input) error {
			var problems []error
			for _, v := range in.values {
				problems = append(problems, cmp.Or(printable(v), check(v)))
			}
			*dst = slices.Clone(in.values)
			return errors.Join(problems...)
		},
		get: func() []string { return *dst },
	}
}

// text is a word or a path whose rule is check.
func text[T ~string](dst *T, typ string, check func(string) error) field {
	return one(dst, typ, func(s string) (T, error) {
		if err := printable(s); err != nil {
			return "", err
		}
		return T(s), check(s)
	}, func(v T) string { return string(v) })
}

func anything(string) error { return nil }

// oneOf is one of a few words; each stands for a value.
func oneOf[T comparable](dst *T, words []string, values ...T) field {
	return one(dst, strings.Join(words, "|"), func(s string) (v T, err error) {
		if i := slices.Index(words, s); i >= 0 {
			return values[i], nil
		}
		hint := "write one of them"
		if word := nearest.Name(s, words); 2*nearest.Distance(s, word) <= len(word) {
			hint = "did you mean " + word + "?"
		}
		return v, fmt.Errorf("%s is not one of %s: %s", quote(s), strings.Join(words, ", "), hint)
	}, func(v T) string { return words[max(slices.Index(values, v), 0)] })
}

func boolean(dst *bool) field {
	return one(dst, "true|false", func(s string) (bool, error) {
		switch strings.ToLower(s) {
		case "true", "yes", "on", "1":
			return true, nil
		case "false", "no", "off", "0":
			return false, nil
		}
		return false, fmt.Errorf("%s is neither true nor false: write one of them", quote(s))
	}, strconv.FormatBool)
}

func integer(dst *int, least int) field {
	return one(dst, "integer", func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least {
			return 0, fmt.Errorf("%s is not a whole number of at least %d: write one", quote(s), least)
		}
		return n, nil
	}, strconv.Itoa)
}

func number(dst *float64) field {
	return one(dst, "number", func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
			return 0, fmt.Errorf("%s is not a number of at least 0: write one, such as 1.5", quote(s))
		}
		return f, nil
	}, func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) })
}

func duration(dst *time.Duration) field { return timed(dst, false) }

// pause is a duration that may be 0: never, or at once.
func pause(dst *time.Duration) field { return timed(dst, true) }

func timed(dst *time.Duration, zero bool) field {
	return one(dst, "duration", func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%s is not a duration: write a number with a unit, such as 500ms, 30s, 10m or 1h30m",
				quote(s))
		case d < 0 || d == 0 && !zero:
			return 0, fmt.Errorf("%s is not longer than 0: write a longer time, such as 30s", quote(s))
		}
		return d, nil
	}, showDuration)
}

// showDuration is Duration.String without units that are zero: 1h, not 1h0m0s.
func showDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// size is a number of bytes of at least least; zero is also allowed if it has a meaning of its own.
func size(dst *Size, least Size, zero bool) field {
	return one(dst, "size", func(s string) (Size, error) {
		n, err := ParseSize(s)
		if err == nil && n < least && !(zero && n == 0) {
			return 0, fmt.Errorf("%s is too small: the least is %s", quote(s), least)
		}
		return n, err
	}, Size.String)
}

// file is the path of a file that must exist; empty: none.
func file(dst *string) field {
	return field{
		typ: "path",
		set: func(in input) error {
			if in.values[0] == "" {
				return nil
			}
			p, err := in.path()
			if err != nil {
				return err
			}
			info, err := os.Stat(p)
			if err != nil {
				return fmt.Errorf("%w: name a file that exists", err)
			}
			if info.IsDir() {
				return fmt.Errorf("%s is a directory: name a file", p)
			}
			*dst = p
			return nil
		},
		get: func() []string { return []string{*dst} },
	}
}

// program is the path of a program that need not exist: only one of those that share the configuration runs it.
func program(dst *string) field { return dir(dst, false, false) }

// dir is the path of a directory that need not exist. A relative data directory starts at the working directory, even
// in a file.
func dir(dst *string, atWorkingDir, required bool) field {
	return field{
		typ: "path",
		set: func(in input) (err error) {
			if in.values[0] == "" {
				if required {
					return errors.New("is empty: name a directory")
				}
				return nil
			}
			if atWorkingDir {
				in.dir = ""
			}
			*dst, err = in.path()
			return err
		},
		get: func() []string { return []string{*dst} },
	}
}

// mockConfig is the name of a mock configuration, or the path of a file of ours, which ends in .cfg.
func mockConfig(dst *string) field {
	return field{
		typ: "name or path",
		set: func(in input) (err error) {
			v := in.values[0]
			switch {
			case v == "":
				return nil
			case strings.HasSuffix(v, ".cfg"):
				*dst, err = in.path()
				return err
			// Distributions past their end of life keep theirs in a directory: eol/fedora-38-x86_64.
			case rpmflow.CheckTargetName(strings.TrimPrefix(v, "eol/")) != nil:
				return fmt.Errorf("%s is neither a mock configuration's name (fedora-42-x86_64) nor the path of a "+
					".cfg file: "+
					"write one of them", quote(v))
			}
			*dst = v
			return nil
		},
		get: func() []string { return []string{*dst} },
	}
}

func address(dst *string) field { return text(dst, "address", checkAddress) }

// optionalAddress is an address, or nothing for not listening at all.
func optionalAddress(dst *string) field { return text(dst, "address", orEmpty(checkAddress)) }

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || (host != "" && net.ParseIP(host) == nil && !hostName.MatchString(host)) {
		return fmt.Errorf("%s is not an address to listen on: write host:port, such as 127.0.0.1:8080, "+
			"or :8080 for all interfaces", quote(s))
	}
	return nil
}

var (
	hostName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	archName   = regexp.MustCompile(`^[a-z0-9_]+$`)
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`) // S3's rules for general purpose buckets
	imageName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@-]*$`)
)

// checkArch accepts RPM's names only. With those of Docker and Go no build would ever match.
func checkArch(s string) error {
	if rpm, ok := map[string]string{"amd64": "x86_64", "x64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}[s]; ok {
		return fmt.Errorf("%s is not RPM's name of that architecture: write %s", quote(s), rpm)
	}
	return matches(archName, "an architecture: write RPM's name of it, such as x86_64 or aarch64")(s)
}

func matches(re *regexp.Regexp, what string) func(string) error {
	return func(s string) error {
		if !re.MatchString(s) {
			return fmt.Errorf("%s is not %s", quote(s), what)
		}
		return nil
	}
}

// orEmpty accepts an empty value as well: the key's documentation explains it.
func orEmpty(check func(string) error) func(string) error {
	return func(s string) error {
		if s == "" {
			return nil
		}
		return check(s)
	}
}

func checkBranch(s string) error {
	return checkPattern(s, "refs/heads/", "main, release-*, feature/** or !wip-*")
}
func checkTag(s string) error { return checkPattern(s, "refs/tags/", "v*, release-[0-9]* or !v*-rc*") }

func checkPattern(s, prefix, such string) error {
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(s, "!"), prefix); ok {
		return fmt.Errorf("%s would match nothing: write %s without %s", quote(s), quote(rest), prefix)
	}
	return pathmatch.Check(s, such)
}

func checkSpec(s string) error { return inside(s, "path", "such as SPECS/hello.spec") }

func checkDirectory(s string) error {
	return inside(s, "directory", "such as packages/hello, or leave it out for the top")
}

// inside refuses paths that are not inside a repository, and other forms of those that are.
func inside(s, what, how string) error {
	if filepath.IsLocal(s) && path.Clean(s) == s && s != "." {
		return nil
	}
	return fmt.Errorf("%s is not a %s inside the repository: write it from the repository's top and without .., %s",
		quote(s), what, how)
}

func checkFileChecksum(s string) error {
	_, _, err := checksum.ParseFile(s)
	return err
}

func printable(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return fmt.Errorf("%s has control characters in it: remove them", quote(s))
	}
	return nil
}

// quote writes a value for an error, shortened.
func quote(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}
