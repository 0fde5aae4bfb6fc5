package rpmflow

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Lookaside is where a list of sources has its files: a preset's name, or a template of URLs.
type Lookaside string

// presets are the distributions' own.
func presets() map[Lookaside]string {
	return map[Lookaside]string{
		"fedora":        "https://src.fedoraproject.org/repo/pkgs/rpms/{name}/{file}/{hashtype}/{hash}/{file}",   // fedpkg.conf, namespaced
		"centos-stream": "https://sources.stream.centos.org/sources/rpms/{name}/{file}/{hashtype}/{hash}/{file}", // centpkg.conf, namespaced
		"centos":        "https://git.centos.org/sources/{name}/{branch}/{hash}",                                 // get_sources.sh of CentOS 7 and 8
		"rocky":         "https://sources.build.resf.org/{hash}",                                                 // srpmproc; Rocky 9 and later
		"rocky-8":       "https://rocky-linux-sources-staging.a1.rockylinux.org/{hash}",                          // srpmproc's --cdn-url
		"almalinux":     "https://sources.almalinux.org/{hash}",                                                  // alma_get_sources
	}
}

// LookasidePresets lists the names that stand for a distribution's lookaside.
func LookasidePresets() []string {
	var names []string
	for name := range maps.Keys(presets()) {
		names = append(names, string(name))
	}
	slices.Sort(names)
	return names
}

// LookasideFields are what a template's fields stand for. A field that is empty is not known.
type LookasideFields struct {
	Name     string // of the package
	Branch   string // that was pushed, without refs/heads/
	File     string
	Checksum Checksum
}

var templateField = regexp.MustCompile(`\{[^{}]*\}`)

// Check says whether it is a preset or a usable template.
func (l Lookaside) Check() error {
	if _, ok := presets()[l]; ok {
		return nil
	}
	if !strings.Contains(string(l), "://") {
		return fmt.Errorf("%q is neither a lookaside's name (%s) nor a URL with fields such as {name}, {file}, {hashtype} and {hash}", l, strings.Join(LookasidePresets(), ", "))
	}
	if !strings.Contains(string(l), "{file}") && !strings.Contains(string(l), "{hash}") {
		return fmt.Errorf("%q would name the same URL for each file: write {file} or {hash} where they differ", l)
	}
	return CheckSourceTemplate(string(l))
}

// CheckSourceTemplate says whether a URL, which may have the fields of a lookaside, can be downloaded from. Its host must not depend
// on them, and credentials have no place in it: it stands in every record.
func CheckSourceTemplate(t string) error {
	for _, f := range templateField.FindAllString(t, -1) {
		if _, ok := (LookasideFields{}).value(f); !ok {
			return fmt.Errorf("%q: unknown field %s: there are {name}, {branch}, {file}, {hashtype} and {hash}", t, f)
		}
	}
	u, err := url.Parse(templateField.ReplaceAllString(t, "x"))
	if err != nil || u.Host == "" || !slices.Contains([]string{"http", "https", "ftp"}, u.Scheme) {
		return fmt.Errorf("%q is no http, https or ftp URL", t)
	}
	if u.User != nil {
		return errors.New("credentials do not belong into the URL of a lookaside or mirror, which stands in every record: use one that needs none")
	}
	if _, rest, _ := strings.Cut(t, "://"); strings.Contains(rest[:len(u.Host)], "{") {
		return fmt.Errorf("%q has a field in its host: only what follows may have some", t)
	}
	return nil
}

func (f LookasideFields) value(field string) (string, bool) {
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

// URL is where the file lies. A field that is not known is an error that names it.
func (l Lookaside) URL(f LookasideFields) (string, error) {
	template := string(l)
	if preset, ok := presets()[l]; ok {
		template = preset
	}
	return f.Expand(template)
}

// Expand puts the fields, escaped, into a template that CheckSourceTemplate lets pass.
func (f LookasideFields) Expand(template string) (string, error) {
	if err := CheckSourceTemplate(template); err != nil {
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
