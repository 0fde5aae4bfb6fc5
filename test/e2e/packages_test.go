package e2e_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"
	"time"
)

// greetSpec is a package of one program in C; its tarball is in the repository or made of it.
const greetSpec = `Name:           greet
Version:        1.2
Release:        3%{?dist}
Epoch:          1
Summary:        Greets
License:        Apache-2.0
Source0:        https://example.com/releases/%{name}-%{version}.tar.gz
Source1:        notes.txt
BuildRequires:  gcc
BuildRequires:  make
%global debug_package %{nil}

%description
Greets.

%package doc
Summary:        How it greets
BuildArch:      noarch

%description doc
Notes.

%prep
%setup -q -n %{name}-%{version}
cp %{SOURCE1} .

%build
make

%install
install -D -m 755 greet %{buildroot}%{_bindir}/greet
cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | sort > interfaces.txt

%files
%{_bindir}/greet

%files doc
%doc notes.txt interfaces.txt
`

const (
	greetC        = "#include <stdio.h>\nint main(void) { puts(\"greetings\"); return 0; }\n"
	greetMakefile = "greet: greet.c\n\tcc -o greet greet.c\n"
	notes         = "It says greetings.\n"
)

func inTree() map[string]string {
	return map[string]string{"rpm/greet.spec": greetSpec, "rpm/notes.txt": notes, "greet.c": greetC,
		"Makefile": greetMakefile}
}

func standard(t *testing.T) map[string]string {
	return map[string]string{"greet.spec": greetSpec, "notes.txt": notes,
		"greet-1.2.tar.gz": tarball(t, "greet-1.2/", map[string]string{"greet.c": greetC, "Makefile": greetMakefile})}
}

func tarball(t *testing.T, prefix string, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: prefix + name, Mode: 0o644, Size: int64(len(content)),
			ModTime: time.Unix(1_700_000_000, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
