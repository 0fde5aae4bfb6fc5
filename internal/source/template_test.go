package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/git/gittest"
	"github.com/rpmflow/rpmflow/internal/testkit"
	"github.com/rpmflow/rpmflow/internal/testkit/failtest"
)

const template = `Name: hello
Version: @VERSION@
Release: 0.git@SHORT@
Summary: x
License: MIT
# @PLANNED@ stays a comment
Source0: %{name}-%{version}.tar.gz

%description
Write to ann@example.org and @nobody@.

%prep
%setup -q
sed -i 's/@VERSION@/x/; s/@LATER@/y/' main.c

%build
true

%files
`

func substitutions(list ...string) (all []rpmflow.Substitution) {
	for _, s := range list {
		parsed, err := rpmflow.ParseSubstitution(s)
		if err != nil {
			panic(err)
		}
		all = append(all, parsed)
	}
	return all
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	commit := w.Commit(map[string]string{"packaging/rpm/hello.spec.in": template, "packaging/rpm/a.patch": "P",
		"main.c": "@VERSION@ @LATER@\n"})
	w.Git("tag", "v1.2")
	for _, tt := range []struct {
		ref, version string
		substitute   []rpmflow.Substitution
		change       func(*Request)
	}{
		{"refs/tags/v1.2", "1.2", substitutions("VERSION={version}", "SHORT={short}", "nobody=@nobody@"), nil},
		{"refs/tags/v1.2", "v1.2", substitutions("VERSION={tag}", "SHORT={short}", "nobody=@nobody@"), nil},
		{"refs/heads/main", "main.7", substitutions("VERSION={branch}.7", "SHORT={short}", "nobody=@nobody@",
			"UNUSED={tag}"),
			nil},
		{"refs/heads/main", "3", substitutions("VERSION=3", "SHORT={short}", "nobody=@nobody@"),
			func(r *Request) { r.Spec = "packaging/rpm/hello.spec.in" }},
	} {
		req := Request{Project: "hello", URL: w.Dir, Ref: tt.ref, Commit: commit,
			Sources: rpmflow.Sources{Substitute: tt.substitute}}
		if tt.change != nil {
			tt.change(&req)
		}
		p := prepare(t, newStore(t), req)
		want := strings.NewReplacer("@VERSION@", tt.version, "@SHORT@", commit[:12]).Replace(template)
		if got := content(t, p.Spec); got != want || filepath.Base(p.Spec) != "hello.spec" {
			t.Errorf("%v: got %s\n%s", tt.substitute, p.Spec, got)
		}
		info, err := os.Stat(p.Spec)
		testkit.Must(t, err)
		if !info.ModTime().Equal(p.CommitTime) || info.Mode() != 0o644 {
			t.Errorf("got %v, %v", info.ModTime(), info.Mode())
		}
		if p.Layout != rpmflow.LayoutInTree || p.SpecPath != "packaging/rpm/hello.spec.in" ||
			names(t, p.Sources) != "a.patch" ||
			!strings.Contains(p.Explanation, "hello.spec is made of hello.spec.in") {
			t.Errorf("got %s, %s, %q, %q", p.Layout, p.SpecPath, names(t, p.Sources), p.Explanation)
		}
		testkit.Must(t, finish(t.Context(), p, expand(t, p.Spec, p.Sources)))
		prep(t, p)
	}
}

// A spec goes before a template, and templates of layout split tell of the source, not of the packaging.
func TestTemplateAmongOthers(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	req := request(w, w.Commit(map[string]string{"rpm/hello.spec": plainSpec, "rpm/hello.spec.in": template}))
	if p := prepare(t, newStore(t), req); p.SpecPath != "rpm/hello.spec" || content(t, p.Spec) != plainSpec ||
		names(t, p.Sources) != "hello.spec.in" {
		t.Errorf("got %q, %q", p.SpecPath, names(t, p.Sources))
	}
	_, _, split := halves(t, map[string]string{"rpm/SPECS/hello.spec.in": template})
	split.Sources.Substitute = substitutions("VERSION=1", "SHORT={short}", "nobody=@nobody@")
	if p := prepare(t, newStore(t), split); !strings.Contains(content(t, p.Spec),
		"Release: 0.git"+split.Commit[:12]+"\n"+
			"") {
		t.Errorf("got %q", content(t, p.Spec))
	}
}

func TestTemplateRefuses(t *testing.T) {
	t.Parallel()
	w := gittest.New(t)
	req := request(w, w.Commit(map[string]string{"rpm/hello.spec.in": template}))
	w.Git("branch", "50%")
	two := gittest.New(t)
	reqTwo := request(two, two.Commit(map[string]string{"a.spec.in": template, "b.spec.in": template}))
	for _, tt := range []struct {
		name  string
		req   Request
		list  []rpmflow.Substitution
		kind  rpmflow.FailureKind
		words []string
	}{
		{"nothing said", req, nil, rpmflow.FailureSpec,
			[]string{"rpm/hello.spec.in has @VERSION@, @SHORT@, @nobody@, for " +
				"which there is no value", "substitute:"}},
		{"one left", req, substitutions("VERSION=1", "nobody=me"), rpmflow.FailureSpec, []string{"has @SHORT@, for",
			"[SHORT=…]"}},
		{"one in a text", req, substitutions("VERSION=1", "SHORT=1"), rpmflow.FailureSpec, []string{"has @nobody@, for",
			"[nobody=…]"}},
		{"no tag", req, substitutions("VERSION={version}", "SHORT=1"), rpmflow.FailureSpec,
			[]string{"{version} is not known: no tag was pushed"}},
		{"a branch that rpm would evaluate", Request{Project: "hello", URL: w.Dir, Ref: "refs/heads/50%",
			Commit: req.Commit},
			substitutions("VERSION={branch}", "SHORT=1"),
			rpmflow.FailureSpec, []string{`rpm would interpret the value "50%"`}},
		{"two", reqTwo, substitutions("VERSION=1", "SHORT=1"), rpmflow.FailureSource, []string{"2 spec files at",
			"a.spec.in, b.spec.in"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.req.Sources.Substitute = tt.list
			_, err := newStore(t).Prepare(t.Context(), tt.req, t.TempDir())
			failtest.Want(t, err, tt.kind, tt.words...)
		})
	}
}
