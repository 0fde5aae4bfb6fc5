package rpmflow

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Options is what a project and a target ask of the build itself: of rpm, and of mock. Lists are in the order in which
// they were given; nothing in them is there twice.
type Options struct {
	Macros []Macro `json:"macros,omitempty"`
	// With and Without are conditions of the spec, as in %bcond and rpmbuild's options of these names.
	With    []string `json:"with,omitempty"`
	Without []string `json:"without,omitempty"`
	// NoCheck leaves %check out.
	NoCheck bool `json:"nocheck,omitempty"`
	// Repositories are asked for BuildRequires, besides those of the target's mock configuration.
	Repositories []Repo `json:"repositories,omitempty"`
	// UseOwnRepository has BuildRequires installed also from what is published of the project for the target.
	UseOwnRepository bool `json:"use_own_repository,omitempty"`
	// TrustOwnRepository is for that repository what Repo.Trusted is for others.
	TrustOwnRepository bool `json:"trust_own_repository,omitempty"`
	// MockOptions are set in mock's configuration.
	MockOptions []MockOption `json:"mock_options,omitempty"`
}

// Macro is one of rpm's. The name is without %, and with the letters of its options in parentheses if it has some.
type Macro struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (m Macro) String() string { return m.Name + " " + m.Value }

// word is the name by which the macro is called.
func (m Macro) word() string {
	w, _, _ := strings.Cut(m.Name, "(")
	return w
}

// Repo is one of dnf's.
type Repo struct {
	URL string `json:"url"`
	// Priority as in dnf: the lowest goes first; 0: dnf's own, 99.
	Priority int `json:"priority,omitempty"`
	// GPGKey is the URL of the key that its packages must be signed with; empty: they are not checked.
	GPGKey string `json:"gpgkey,omitempty"`
	// Trusted packages may run their scriptlets as root of the engine's machine: the operator has said so.
	Trusted bool `json:"trusted,omitempty"`
}

func (r Repo) String() string {
	s := r.URL
	if r.Priority != 0 {
		s += " priority=" + strconv.Itoa(r.Priority)
	}
	if r.GPGKey != "" {
		s += " gpgkey=" + r.GPGKey
	}
	return s
}

// MockOption is an assignment as in mock's --config-opts: a key that is there several times makes a list, and so does
// one with an empty value behind another one.
type MockOption struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (o MockOption) String() string { return o.Key + "=" + o.Value }

// Over returns o and what base has in addition. If both have the same macro, condition, repository or option of
// mock, o wins; %check is left out when one of them says so.
func (o Options) Over(base Options) Options {
	out := Options{
		Macros:      over(base.Macros, o.Macros, func(a, b Macro) bool { return a.word() == b.word() }),
		With:        over(base.With, o.With, func(a, b string) bool { return a == b }),
		Without:     over(base.Without, o.Without, func(a, b string) bool { return a == b }),
		NoCheck:     base.NoCheck || o.NoCheck,
		MockOptions: over(base.MockOptions, o.MockOptions, func(a, b MockOption) bool { return a.Key == b.Key }),
	}
	out.With = slices.DeleteFunc(out.With, func(c string) bool { return slices.Contains(o.Without, c) })
	out.Without = slices.DeleteFunc(out.Without, func(c string) bool { return slices.Contains(o.With, c) })
	out.UseOwnRepository = o.UseOwnRepository || base.UseOwnRepository
	out.TrustOwnRepository = o.TrustOwnRepository || base.TrustOwnRepository
	if len(out.With) == 0 {
		out.With = nil
	}
	if len(out.Without) == 0 {
		out.Without = nil
	}
	sameURL := func(a, b Repo) bool { return a.URL == b.URL }
	out.Repositories = over(base.Repositories, o.Repositories, sameURL)
	for i, r := range out.Repositories { // what the target has is no less trusted because a project names it, too
		out.Repositories[i].Trusted = r.Trusted ||
			slices.ContainsFunc(base.Repositories, func(b Repo) bool { return b.Trusted && sameURL(b, r) })
	}
	return out
}

// over is base without what is in own, and own.
func over[T any](base, own []T, same func(a, b T) bool) []T {
	var out []T
	for _, b := range base {
		if !slices.ContainsFunc(own, func(o T) bool { return same(b, o) }) {
			out = append(out, b)
		}
	}
	return append(out, own...)
}

// Trust marks every repository as trusted.
func (o Options) Trust() Options {
	o.TrustOwnRepository = o.UseOwnRepository
	o.Repositories = slices.Clone(o.Repositories)
	for i := range o.Repositories {
		o.Repositories[i].Trusted = true
	}
	return o
}

// Untrusted names the repositories that need an engine with user namespaces: their URLs, use_own_repository.
func (o Options) Untrusted() []string {
	var urls []string
	for _, r := range o.Repositories {
		if !r.Trusted {
			urls = append(urls, r.URL)
		}
	}
	if o.UseOwnRepository && !o.TrustOwnRepository {
		urls = append(urls, "use_own_repository")
	}
	return urls
}

// Definitions are all macros for rpm: Macros, and what With and Without mean (as in rpmbuild and mock).
func (o Options) Definitions() []Macro {
	out := slices.Clone(o.Macros)
	for _, c := range []struct {
		word  string
		names []string
	}{{"with", o.With}, {"without", o.Without}} {
		for _, name := range c.names {
			out = append(out, Macro{Name: "_" + c.word + "_" + strings.ReplaceAll(name, "-", "_"), Value: "--" +
				c.word + "-" +
				name})
		}
	}
	return out
}

// ParseOptions reads what a command line gives: definitions ("name value"), and conditions. Its error says all that is
// wrong.
func ParseOptions(define, with, without []string) (Options, error) {
	var o Options
	var errs []error
	for _, d := range define {
		m, err := ParseMacro(d)
		errs = append(errs, err)
		if err == nil {
			o.Macros = over(o.Macros, []Macro{m}, func(a, b Macro) bool { return a.word() == b.word() })
		}
	}
	for _, name := range slices.Concat(with, without) {
		errs = append(errs, CheckCondition(name))
	}
	o.With, o.Without = unique(with), unique(without)
	errs = append(errs, o.CheckConditions())
	if err := errors.Join(errs...); err != nil {
		return Options{}, err
	}
	return o, nil
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

var (
	// rpm requires three characters at least (rpmio/macro.c, doDefine).
	macroName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{2,}(\([^()%\s]*\))?$`)
	condition = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
)

// engineMacros say where packages are built; the engines set them.
func engineMacros() []string {
	return []string{
		"_topdir", "_tmppath", "_builddir", "_buildrootdir", "_sourcedir", "_specdir", "_rpmdir", "_srcrpmdir",
		"_rpmfilename", "_build_name_fmt", "_dbpath", "buildroot",
	}
}

const maxMacro = 16 << 10

// ParseMacro reads a definition as in rpmbuild's --define: name and value, with space between them.
func ParseMacro(s string) (Macro, error) {
	name, value, _ := strings.Cut(strings.TrimSpace(s), " ")
	m := Macro{Name: strings.TrimPrefix(name, "%"), Value: strings.TrimSpace(value)}
	switch shown := shorten(s); {
	case len(m.word()) > 128 || !macroName.MatchString(m.Name):
		return m, fmt.Errorf("macro %q: %q is not the name of a macro: write name and value with a space between "+
			"them, the "+
			"name in at least 3 letters, digits and _", shown, shorten(m.Name))
	case slices.Contains(engineMacros(), m.word()):
		return m, fmt.Errorf("macro %q: %s says where packages are built and is set by rpmflow: leave it out", shown,
			m.word())
	case m.Value == "":
		return m, fmt.Errorf("macro %q has no value: write one after the name; %%{nil} is an empty one", shown)
	case len(m.Value) > maxMacro:
		return m, fmt.Errorf("macro %q is longer than %d bytes: put it into the spec", shown, maxMacro)
	case !oneLine(m.Value):
		return m, fmt.Errorf("macro %q has line ends, control characters or bytes that are not UTF-8: write it on "+
			"one line", shown)
	case strings.HasSuffix(m.Value, `\`):
		return m, fmt.Errorf(`macro %q ends with a backslash, which would go on with the next line: remove it`, shown)
	case !closed(m.Value):
		return m, fmt.Errorf("macro %q: a %%{, %%( or %%[ is not closed, or a { at the beginning: close it", shown)
	}
	return m, nil
}

// oneLine reports whether a text is one line, in a file of macros and elsewhere.
func oneLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return (unicode.IsControl(r) && r != '\t') || r == '\u2028' || r == '\u2029' || r == '\ufeff'
	})
}

// closed reports whether rpm reads a macro file's line as one definition: while a bracket behind % is open, it takes
// the next line, too.
func closed(s string) bool {
	const opening, closing = "{([", "})]"
	var depth [len(opening)]int
	start := 0
	if strings.HasPrefix(s, "{") { // the whole body is in braces
		depth[0], start = 1, 1
	}
	for i := start; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '%' && i+1 < len(s) && s[i+1] == '%':
			i++
		case c == '%' && i+1 < len(s) && strings.IndexByte(opening, s[i+1]) >= 0:
			i++
			depth[strings.IndexByte(opening, s[i])]++
		case strings.IndexByte(opening, c) >= 0 && depth[strings.IndexByte(opening, c)] > 0:
			depth[strings.IndexByte(opening, c)]++
		case strings.IndexByte(closing, c) >= 0 && depth[strings.IndexByte(closing, c)] > 0:
			depth[strings.IndexByte(closing, c)]--
		}
	}
	return depth == [len(opening)]int{}
}

// CheckCondition reports whether a condition of specs may have this name.
func CheckCondition(name string) error {
	if len(name) > 100 || !condition.MatchString(name) {
		return fmt.Errorf("%q is not the name of a condition: write the one after %%bcond in the spec, without --with",
			shorten(name))
	}
	return nil
}

// CheckConditions reports whether a condition is asked for and refused at once.
func (o Options) CheckConditions() error {
	for _, c := range o.With {
		if slices.Contains(o.Without, c) {
			return fmt.Errorf("condition %q is in both with and without: remove one", c)
		}
	}
	return nil
}

// urlText is what may stand in a repository's URL; dnf puts values in the place of $releasever and the like. The
// brackets of templates, which mock would expand, are not among it.
var urlText = regexp.MustCompile(`^[A-Za-z0-9._~:/?&=@!$+,;%()*'\[\]-]+$`)

// ParseRepo reads a repository: its URL, optionally followed by priority=NUMBER and gpgkey=URL.
func ParseRepo(s string) (Repo, error) {
	words := strings.Fields(s)
	if len(words) == 0 {
		return Repo{}, errors.New("a repository is empty: write its URL, such as " +
			"https://repo.example.com/f$releasever/$basearch/")
	}
	r := Repo{URL: words[0]}
	err := checkURL(r.URL)
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		var perr error
		switch key {
		case "priority":
			if r.Priority, perr = strconv.Atoi(value); perr != nil || r.Priority < 1 || r.Priority > 99 {
				perr = fmt.Errorf("priority %q is not a number from 1, which goes first, to 99", shorten(value))
			}
		case "gpgkey":
			r.GPGKey, perr = value, checkURL(value)
		default:
			perr = fmt.Errorf("%q is neither priority=NUMBER nor gpgkey=URL: correct or remove it", shorten(w))
		}
		err = cmp.Or(err, perr)
	}
	if err != nil {
		// The text before an @ may be a password. This package does not import giturl, whose Redact would keep the
		// scheme.
		shown := r.URL[strings.LastIndexByte(r.URL, '@')+1:]
		return Repo{}, fmt.Errorf("repository %q: %w", shorten(shown), err)
	}
	return r, nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || !urlText.MatchString(s):
		return errors.New("write an http or https URL")
	case u.User != nil:
		return errors.New("user and password would be in every build's record: write the URL without them; a " +
			"repository " +
			"that needs them belongs in the target's mock configuration")
	}
	return nil
}

// MockOptionKeys lists the options of mock that a project and a target may set: those that say what is in a root, and
// how rpmbuild is called in it. Neither isolation, network, mounts, commands and plugins, which are the engine's, nor
// dnf's command line, which could bring in other repositories unseen, are among them: they are matters of the operator
// who writes the target's mock configuration.
func MockOptionKeys() []string {
	return []string{
		"bootstrap_chroot_additional_packages", "bootstrap_module_enable", "bootstrap_module_install",
		"chroot_additional_packages", "chroot_setup_cmd",
		"dist", "dynamic_buildrequires", "dynamic_buildrequires_max_loops", "module_enable", "module_install", "nosync",
		"nosync_force",
		"package_manager_attempt_delay", "package_manager_max_attempts", "releasever", "rpmbuild_arch", rpmbuildOpts,
		"rpmbuild_timeout",
		"static_buildrequires_max_loops", "use_bootstrap", "use_host_shadow_utils",
	}
}

// rpmbuildOpts is the one option whose value is a command line: it is run where the package's own code is.
const rpmbuildOpts = "rpmbuild_opts"

// ParseMockOption reads an assignment as in mock's --config-opts: key=value.
func ParseMockOption(s string) (MockOption, error) {
	key, value, ok := strings.Cut(s, "=")
	o := MockOption{Key: key, Value: value}
	switch shown := shorten(s); {
	case !ok:
		return o, fmt.Errorf("mock option %q is not an assignment: write key=value", shown)
	case !slices.Contains(MockOptionKeys(), key):
		return o, fmt.Errorf("mock option %q: %s may not be set here; these may: %s; others belong in the target's "+
			"mock "+
			"configuration", shown, shorten(key), strings.Join(MockOptionKeys(), ", "))
	case !oneLine(value):
		return o, fmt.Errorf("mock option %q has control characters or bytes that are not UTF-8: remove them", shown)
	case strings.Contains(value, "{{"), strings.Contains(value, "{%"), strings.Contains(value, "{#"):
		return o, fmt.Errorf("mock option %q: mock would run %s as a template: write the value itself", shown,
			shorten(value))
	case key != rpmbuildOpts && foreign(value):
		return o, fmt.Errorf("mock option %q: options and URLs in %s would install packages from elsewhere than the "+
			"repositories: name "+
			"packages, groups and modules only", shown, key)
	}
	return o, nil
}

// foreign reports whether a value that dnf gets as arguments has more than names in it.
func foreign(value string) bool {
	return strings.Contains(value, "://") || slices.ContainsFunc(strings.Fields(value),
		func(w string) bool { return strings.HasPrefix(w, "-") })
}

// shorten cuts foreign text for an error.
func shorten(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
