package hostile_test

import (
	"fmt"
	"strings"
)

// spec is a package of one file, with what happens while it is read, prepared, built and installed.
type spec struct{ parse, prep, build, install string }

func (s spec) String() string {
	global := ""
	if s.parse != "" {
		global = "%global parsed %(" + s.parse + ")\n"
	}
	return fmt.Sprintf(`%sName:           hostile
Version:        1
Release:        1
Summary:        Means harm
License:        MIT
BuildArch:      noarch
%%global debug_package %%{nil}

%%description
It does not do what it says.

%%prep
%s

%%build
%s

%%install
mkdir -p %%{buildroot}/usr/share/hostile
%s

%%files
/usr/share/hostile
`, global, s.prep, s.build, s.install)
}

// got is what a success is marked with; the commands themselves do not have it in one piece.
const got = "GOT-"

// sleeper is the mark of the processes that want to outlive their build.
const sleeper = "31337.25"

// curious looks at everything, reaches for everything, and ends well. What it finds is in its package.
func curious(call string) spec {
	look := strings.Join([]string{
		"env", "cat /proc/self/environ /proc/1/environ /proc/[0-9]*/environ", "cat /proc/[0-9]*/cmdline",
		"cat /proc/self/mountinfo",
		"cat /rpmflow/* /rpmflow/*/* /run/secrets/* /etc/shadow /root/.* /proc/1/root/etc/shadow " +
			"/proc/1/root/rpmflow/*",
		"ls -lR /rpmflow /run /var/run /home /root /proc/1/root",
		"ls /var/run/docker.sock /run/docker.sock && echo 'GOT'-SOCKET",
		"cut -d: -f1 /proc/net/dev | tail -n +3", "getent hosts example.com && echo 'GOT'-RESOLVED",
	}, "; ")
	reach := strings.Join([]string{
		"for f in /usr/bin/mock /usr/bin/rpmbuild /etc/mock/site-defaults.cfg /rpmflow/override.cfg " +
			"/rpmflow/target/*.cfg " +
			"/etc/passwd /usr/bin/gcc; do echo replaced >$f; rm -f $f; mv $f $f.old; done",
		"rm -rf /rpmflow /usr/lib/python3 /var/lib/mock /var/lib/rpm", "mount -t tmpfs none /mnt && echo 'GOT'-MOUNTED",
		"unshare --user --map-root-user true && echo 'GOT'-UNSHARED",
		"mknod /tmp/disk b 8 0 && echo 'GOT'-MKNOD", "chroot / true && echo 'GOT'-CHROOTED",
		"kill -9 1 && echo 'GOT'-KILLED",
		"ln -s /etc/passwd /rpmflow/out/rpms/x.rpm && echo 'GOT'-LINKED",
	}, "; ")
	all := "( " + look + "; " + call + "; " + reach + " ) >%s 2>/dev/null </dev/null || true\n"
	stay := "nohup sleep " + sleeper + " >/dev/null 2>&1 &\nsetsid sh -c 'while sleep " + sleeper + "; do :; done' &\n"
	return spec{
		parse: "( " + look + "; " + call + "; " + reach + " ) 2>/dev/null | base64 -w0; true",
		prep:  fmt.Sprintf(all, "prep.txt"),
		build: fmt.Sprintf(all, "build.txt") + stay,
		install: fmt.Sprintf(all, "install.txt") +
			"cp *.txt %{buildroot}/usr/share/hostile/\necho %{parsed} | base64 -d " +
			">%{buildroot}/usr/share/hostile/parse.txt\n" +
			stay,
	}
}

// innocent says what no log likes, and does no harm: it is built last, where the others have been.
var innocent = spec{
	build:   `printf 'before \377\376\000\001 \033[31m binary\n'; head -c 20000 /dev/urandom; printf '\nafter\n'`,
	install: "touch %{buildroot}/usr/share/hostile/innocent",
}

const eternity = "the line before eternity"
