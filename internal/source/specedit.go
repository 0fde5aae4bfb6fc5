package source

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
)

var (
	versionTag  = regexp.MustCompile(`(?i)^([ \t]*(version|release)[ \t]*:[ \t]*)(.*?)([ \t]*\r?\n?)$`)
	autoBase    = regexp.MustCompile(`%\{?\??autorelease\b[^}]*?-b[ \t]*([0-9]+)`)
	autoMacro   = regexp.MustCompile(`%\{?[!?]*(autorelease|autochangelog)\b`)
	changelogAt = regexp.MustCompile(`^\*[ \t]+\S+[ \t]+(\S+[ \t]+[0-9]+[ \t]+[0-9]{4})\b`)
)

// editVersion writes version and release of git into a spec on disk, in place of those that it has, and an entry into its changelog.
func (v *gitVersion) editVersion(name string, mtime time.Time) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading the spec: %w", err)
	}
	edited, err := v.edit(string(text))
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(edited), 0o644); err != nil {
		return fmt.Errorf("writing the spec: %w", err)
	}
	return setTime(name, mtime)
}

// edit changes the two lines of the main preamble and the changelog, and nothing else. It does not guess: where rpm might take
// the version from elsewhere, the packager has to mend the spec.
func (v *gitVersion) edit(spec string) (string, error) {
	lines := slices.Collect(strings.Lines(spec))
	found := map[string]int{}
	changelog := -1
	var where scanner
	preamble := true
	for i, line := range lines {
		inside := where.inside()
		conditional := where.conditional
		where.next(line)
		if inside {
			continue // of a macro's body
		}
		word := firstWord(line)
		if strings.HasPrefix(word, "%") && slices.Contains(sections, strings.ToLower(word)) {
			preamble = false
			if strings.EqualFold(word, "%changelog") {
				if changelog >= 0 {
					return "", unclear("it has two %%changelog sections")
				}
				changelog = i
			}
			continue
		}
		m := versionTag.FindStringSubmatch(line)
		if m == nil || !preamble {
			continue
		}
		tag := strings.ToLower(m[2])
		if conditional > 0 {
			return "", unclear("line %d, %s, stands in a conditional", i+1, m[2])
		}
		if other, ok := found[tag]; ok {
			return "", unclear("lines %d and %d both are its %s", other+1, i+1, m[2])
		}
		found[tag] = i
	}
	base := "1"
	for _, tag := range []string{"version", "release"} {
		i, ok := found[tag]
		if !ok {
			return "", unclear("it has no line %s: of its own", strings.ToUpper(tag[:1])+tag[1:])
		}
		m := versionTag.FindStringSubmatch(lines[i])
		value := v.version
		if tag == "release" {
			base = releaseBase(m[3])
			value = v.release(base) + "%{?dist}"
		}
		lines[i] = m[1] + value + m[4]
	}
	return v.addEntry(lines, changelog, v.release(base)), nil
}

// releaseBase is the spec's own Release without the distribution's suffix. Macros are left to rpm; where one of them may have the suffix
// in its value, rpm takes it off.
func releaseBase(release string) string {
	if base := autoBase.FindStringSubmatch(release); base != nil {
		return base[1]
	}
	if autoMacro.MatchString(release) {
		return "1"
	}
	base := release
	at := distMacro.FindStringIndex(release)
	if at != nil {
		base = release[:at[0]]
	}
	switch base = strings.Trim(base, ". \t"); {
	case base == "":
		return "1"
	case at == nil && strings.Contains(base, "%"):
		return "%{lua:local r, d = rpm.expand([==[" + base + "]==]), rpm.expand('%{?dist}'); " +
			"if d ~= '' and r:sub(-#d) == d then r = r:sub(1, -#d - 1) end; print(r)}"
	}
	return base
}

// distMacro is the distribution's suffix in a Release.
var distMacro = regexp.MustCompile(`%(\{[?!]*dist(:[^{}]*)?\}|[?!]*dist\b)`)

func unclear(format string, args ...any) error {
	return rpmflow.Fail(rpmflow.FailureSpec, "give the spec one line Version: and one line Release: before its first section, outside of conditions and macros, or take version: from-git from the project",
		"version: from-git cannot change the spec: %s", fmt.Sprintf(format, args...))
}

// addEntry puts the entry on top of the changelog, or in the place of %autochangelog.
func (v *gitVersion) addEntry(lines []string, changelog int, release string) string {
	if changelog < 0 {
		text := strings.Join(lines, "")
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + "\n%changelog\n" + v.entry(release, time.Time{})
	}
	if !strings.HasSuffix(lines[changelog], "\n") {
		lines[changelog] += "\n"
	}
	var newest time.Time
	for i := changelog + 1; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if m := autoMacro.FindStringSubmatch(line); m != nil && m[1] == "autochangelog" {
			lines[i] = ""
			break
		}
		if m := changelogAt.FindStringSubmatch(line); m != nil {
			if t, err := time.Parse("Jan 2 2006", strings.Join(strings.Fields(m[1]), " ")); err == nil {
				newest = t
			}
			break
		}
	}
	entry := v.entry(release, newest)
	if len(strings.TrimSpace(strings.Join(lines[changelog+1:], ""))) > 0 {
		entry += "\n"
	}
	return strings.Join(lines[:changelog+1], "") + entry + strings.Join(lines[changelog+1:], "")
}

func firstWord(line string) string {
	if i := strings.IndexAny(line, " \t\r\n"); i >= 0 {
		return line[:i]
	}
	return line
}

// scanner follows rpm's own reading of lines (build/parseSpec.c, copyNextLineFromOFI) as far as it is needed to know whether a line
// stands for itself.
type scanner struct {
	brackets    [3]int // open {, ( and [ of macros
	continued   bool   // by a backslash
	conditional int
}

func (s *scanner) inside() bool { return s.brackets != [3]int{} || s.continued }

const opening, closing = "{([", "})]"

func (s *scanner) next(line string) {
	if !s.inside() {
		switch word := firstWord(strings.TrimLeft(line, " \t")); {
		case slices.Contains([]string{"%if", "%ifarch", "%ifnarch", "%ifos", "%ifnos"}, word), strings.HasPrefix(word, "%if("), strings.HasPrefix(word, "%if!"):
			s.conditional++
		case word == "%endif" && s.conditional > 0:
			s.conditional--
		case strings.HasPrefix(word, "#"):
			return
		}
	}
	s.continued = false
	text := strings.TrimRight(line, "\r\n")
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			s.continued = i == len(text)-1
			i++
		case c == '%' && i+1 < len(text) && text[i+1] == '%':
			i++
		case c == '%' && i+1 < len(text) && strings.IndexByte(opening, text[i+1]) >= 0:
			s.brackets[strings.IndexByte(opening, text[i+1])]++
			i++
		case strings.IndexByte(opening, c) >= 0 && s.brackets[strings.IndexByte(opening, c)] > 0:
			s.brackets[strings.IndexByte(opening, c)]++
		case strings.IndexByte(closing, c) >= 0 && s.brackets[strings.IndexByte(closing, c)] > 0:
			s.brackets[strings.IndexByte(closing, c)]--
		}
	}
}

// automatic lists the macros of rpmautospec that a spec uses outside of comments.
func automatic(spec string) (macros []string) {
	for line := range strings.Lines(spec) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, m := range autoMacro.FindAllStringSubmatch(line, -1) {
			if name := "%" + m[1]; !slices.Contains(macros, name) {
				macros = append(macros, name)
			}
		}
	}
	return macros
}

// Automatic reports whether the spec leaves Release or changelog to rpmautospec, so that its expansion is to be shown to CheckAutomatic.
func (p *Prepared) Automatic() bool { return len(p.automatic) > 0 }

// CheckAutomatic looks whether the target knows the macros of rpmautospec. In come the expanded spec, or what rpm said instead of
// expanding it; out comes a remark for the packager, or the error.
func (p *Prepared) CheckAutomatic(expanded []byte, err error) (remark string, _ error) {
	if !p.Automatic() {
		return "", err
	}
	names := strings.Join(p.automatic, " and ")
	said := ""
	if err != nil {
		said = err.Error()
		if f := failureOf(err); f != nil {
			said += strings.Join(f.Excerpt, "\n")
		} else {
			return "", err
		}
	}
	if autoMacro.Match(expanded) || strings.Contains(said, "autorelease") || strings.Contains(said, "autochangelog") || strings.Contains(said, "%changelog") {
		return "", &rpmflow.Failure{Kind: rpmflow.FailureSpec, Err: err, Message: "the spec uses " + names + ", which the target's root does not know: rpmautospec is not there",
			Hint: "set version: from-git of the project, which counts commits and writes the changelog itself, write Release and %changelog out, or have rpmautospec's macros in the target's root"}
	}
	if err != nil {
		return "", err
	}
	return names + " are what the target's macros make of them without history: the same Release for every commit; version: from-git counts commits", nil
}
