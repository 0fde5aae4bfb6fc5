package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rpmflow/rpmflow"
)

var (
	versionTag  = regexp.MustCompile(`(?i)^([ \t]*(version|release)[ \t]*:[ \t]*)(.*?)([ \t]*\r?\n?)$`)
	autoBase    = regexp.MustCompile(`%\{?\??autorelease\b[^}]*?-b[ \t]*([0-9]+)`)
	changelogAt = regexp.MustCompile(`^\*[ \t]+\S+[ \t]+(\S+[ \t]+[0-9]+[ \t]+[0-9]{4})\b`)
)

// Edit writes version and release into a spec, in place of those that it has, and an entry into its changelog. It
// changes the two lines of the main preamble and the changelog only. It does not guess: if rpm might take the version
// from elsewhere, the packager must fix the spec.
func (v *Version) Edit(spec string) (string, error) {
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
		if word := section(line); word != "" {
			preamble = false
			if word == "%changelog" {
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
			return "", unclear("line %d, %s, is in a conditional", i+1, m[2])
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
		value := v.Version
		if tag == "release" {
			base = releaseBase(m[3])
			value = v.release(base) + "%{?dist}"
		}
		lines[i] = m[1] + value + m[4]
	}
	return v.addEntry(lines, changelog, v.release(base)), nil
}

// releaseBase is the spec's own Release without the distribution's suffix. Macros are left to rpm; if one of them may
// have the suffix in its value, rpm removes it.
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
	return rpmflow.Fail(rpmflow.FailureSpec,
		"give the spec one line Version: and one line Release: before its first section, outside of conditions and "+
			"macros, "+
			"or remove version: from-git from the project",
		"version: from-git cannot change the spec: %s", fmt.Sprintf(format, args...))
}

// addEntry puts the entry on top of the changelog, or in the place of %autochangelog.
func (v *Version) addEntry(lines []string, changelog int, release string) string {
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

// scanner follows rpm's own reading of lines (build/parseSpec.c, copyNextLineFromOFI) as far as it is needed to see
// whether a line stands for itself.
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
		case slices.Contains([]string{"%if", "%ifarch", "%ifnarch", "%ifos", "%ifnos"}, word),
			strings.HasPrefix(word, "%if("), strings.HasPrefix(word, "%if!"):
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
