// Package lookaside has the places where distributions keep the source files that their repositories only list.
//
// A preset's name or a template of URLs comes in, with what is known of a file; the URL of the file goes out. It
// imports nothing of ours but other leaf libraries, and every package may import it.
package lookaside

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow/internal/checksum"
)

// presets are the distributions' own.
func presets() map[string]string {
	return map[string]string{
		// fedpkg.conf, namespaced
		"fedora": "https://src.fedoraproject.org/repo/pkgs/rpms/{name}/{file}/{hashtype}/{hash}/{file}",
		// centpkg.conf, namespaced
		"centos-stream": "https://sources.stream.centos.org/sources/rpms/{name}/{file}/{hashtype}/{hash}/{file}",
		// get_sources.sh of CentOS 7 and 8
		"centos": "https://git.centos.org/sources/{name}/{branch}/{hash}",
		// srpmproc; Rocky 9 and later
		"rocky": "https://sources.build.resf.org/{hash}",
		// srpmproc's --cdn-url
		"rocky-8": "https://rocky-linux-sources-staging.a1.rockylinux.org/{hash}",
		// alma_get_sources
		"almalinux": "https://sources.almalinux.org/{hash}",
	}
}

// Presets lists the names that stand for a distribution's lookaside.
func Presets() []string {
	return slices.Sorted(maps.Keys(presets()))
}

// Fields are what a template's fields stand for. A field that is empty is not known.
type Fields struct {
	Name     string // of the package
	Branch   string // that was pushed, without refs/heads/
	File     string
	Checksum checksum.Checksum
}

var templateField = regexp.MustCompile(`\{[^{}]*\}`)

// Check reports whether a place is a preset or a template that can be used.
func Check(place string) error {
	if _, ok := presets()[place]; ok {
		return nil
	}
	if !strings.Contains(place, "://") {
		return fmt.Errorf("%q is neither a lookaside's name (%s) nor a URL with fields such as {name}, {file}, "+
			"{hashtype} "+
			"and {hash}",
			place, strings.Join(Presets(), ", "))
	}
	if !strings.Contains(place, "{file}") && !strings.Contains(place, "{hash}") {
		return fmt.Errorf("%q would name the same URL for each file: write {file} or {hash} in it", place)
	}
	return CheckTemplate(place)
}

// CheckTemplate reports whether a URL, which may have the fields of a lookaside, can be downloaded from. Its host must
// not depend on them, and credentials have no place in it: it is in every record.
func CheckTemplate(t string) error {
	for _, f := range templateField.FindAllString(t, -1) {
		if _, ok := (Fields{}).value(f); !ok {
			return fmt.Errorf("%q: unknown field %s: there are {name}, {branch}, {file}, {hashtype} and {hash}", t, f)
		}
	}
	u, err := url.Parse(templateField.ReplaceAllString(t, "x"))
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ftp"}, u.Scheme) {
		return fmt.Errorf("%q is not an http, https or ftp URL", t)
	}
	if u.User != nil {
		return errors.New("the URL of a lookaside or mirror is in every record, and must not have credentials: use " +
			"one that needs none")
	}
	if _, rest, _ := strings.Cut(t, "://"); strings.Contains(rest[:len(u.Host)], "{") {
		return fmt.Errorf("%q has a field in its host: only what follows it may have fields", t)
	}
	return nil
}

func (f Fields) value(field string) (string, bool) {
	switch field {
	case "{name}":
		return f.Name, true
	case "{branch}":
		return f.Branch, true
	case "{file}":
		return f.File, true
	case "{hashtype}":
		return f.Checksum.Algorithm, true
	case "{hash}":
		return f.Checksum.Hex, true
	}
	return "", false
}

// URL is where a place has a file. A field that is not known is an error that names it.
func URL(place string, f Fields) (string, error) {
	template := place
	if preset, ok := presets()[place]; ok {
		template = preset
	}
	return f.Expand(template)
}

// Expand puts the fields, escaped, into a template that CheckTemplate lets pass.
func (f Fields) Expand(template string) (string, error) {
	if err := CheckTemplate(template); err != nil {
		return "", err
	}
	var missing error
	u := templateField.ReplaceAllStringFunc(template, func(name string) string {
		value, _ := f.value(name)
		if value == "" {
			missing = fmt.Errorf("%s of %s is not known here", name, template)
		}
		return url.PathEscape(value)
	})
	return u, missing
}
