package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rpmflow/rpmflow"
)

// optionSettings are the keys of what a target and a project may ask of rpm and mock.
func optionSettings(o *rpmflow.Options, whose string) []setting {
	return []setting{
		{path: "macros", example: "['vendor Example', 'debug_package %{nil}']",
			field: parsed(&o.Macros, "list of macros", rpmflow.ParseMacro),
			doc:   "Macros of rpm, each as name and value with a space between them. " + whose},
		{path: "with", field: conditions(&o.With, o), doc: "Conditions of specs (%bcond) that are switched on."},
		{path: "without", example: "[docs]", field: conditions(&o.Without, o),
			doc: "Conditions of specs that are switched off."},
		{path: "nocheck", def: "false", field: boolean(&o.NoCheck), doc: "Whether %check is left out."},
		{path: "repositories", example: "['https://repo.example.com/$releasever/$basearch/ priority=50']",
			field: parsed(&o.Repositories, "list of repositories", rpmflow.ParseRepo),
			doc: "Repositories that are asked for BuildRequires besides those of the mock configuration: " +
				"a URL, optionally followed by priority=1…99 and gpgkey=URL of the key that signs the packages."},
		{path: "mock_options", example: "['chroot_additional_packages=glibc-langpack-de']",
			field: parsed(&o.MockOptions, "list of assignments", rpmflow.ParseMockOption),
			doc: "Options of mock, as for its --config-opts: " + strings.Join(rpmflow.MockOptionKeys(), ", ") +
				". Each set of them has its own build root."},
	}
}

// parsed is a list of values that are more than text.
func parsed[T fmt.Stringer](dst *[]T, typ string, parse func(string) (T, error)) field {
	return field{
		typ: typ, list: true,
		set: func(in input) error {
			var problems []error
			var out []T
			for _, s := range in.values {
				v, err := parse(s)
				problems = append(problems, err)
				out = append(out, v)
			}
			if err := errors.Join(problems...); err != nil {
				return err
			}
			*dst = out
			return nil
		},
		get: func() []string {
			var out []string
			for _, v := range *dst {
				out = append(out, v.String())
			}
			return out
		},
	}
}

// conditions is one of the two lists of o's conditions; a condition in both lists is reported with the one that is set
// last.
func conditions(dst *[]string, o *rpmflow.Options) field {
	f := many(dst, "list of conditions", rpmflow.CheckCondition)
	set := f.set
	f.set = func(in input) error {
		for i, s := range in.values {
			if slices.Contains(in.values[:i], s) {
				return fmt.Errorf("condition %s is listed twice: remove one", quote(s))
			}
		}
		return errors.Join(set(in), o.CheckConditions())
	}
	return f
}
