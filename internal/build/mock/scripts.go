package mock

import _ "embed"

// prelude prepares a container and defines run_mock; every step begins with it. It is part of the key of roots, as
// scriptInit is: another text, comments included, makes all roots again.
//
//go:embed prelude.sh
var prelude string

// The steps. Network: root and dependencies install packages; the others run what a package's author wrote.
const (
	scriptInit = `use_packages
run_mock --init --no-clean
keep_config
note_repositories`
	scriptUpdate = `use_packages
run_mock --update
note_repositories`
	// The root's own rpm reads the spec, with the target's macros. The sources are there for specs that include them.
	// rpm's arguments come in a file, so no shell reads them. The engine may lose a last line without a line feed, so
	// one more line feed is added.
	scriptQuery = `give_devices
tar -C ` + inWork + ` -cf - SPECS SOURCES query | ` +
		`run_mock --offline --quiet --unpriv --shell ` +
		`"cd /builddir/build && tar -xf - && xargs -0 -x rpmspec <query && echo"`
	scriptSRPM = `show_config
give_devices
run_mock --offline --no-clean --no-cleanup-after --buildsrpm --spec "` + inSpecs + `/$SPEC" --sources ` + inSources
	scriptDeps = `use_packages
before=$(installed)
run_mock --no-clean --no-cleanup-after --installdeps "` + inWork + `/$SRPM"
[ "$(installed)" != "$before" ] || : >"$OUT/unchanged"
note_repositories`
	// The package's requirements that are missing offline are taken out, to be installed with the network: the list of
	// %generate_buildrequires, or the source package as mock has made it again, if that requires something else.
	scriptRPMs = `code=0
give_devices
for f in ` + inLeftOut + `/*; do
	[ -f "$f" ] || continue
	for root in /var/lib/mock/*/root; do
		mkdir -p "$root/builddir/build/SOURCES"
		cp -p "$f" "$root/builddir/build/SOURCES"
	done
done
requires() { rpm -qpR "$1" 2>/dev/null | LC_ALL=C sort -u; }
[ -z "$INSTALLED" ] || requires "` + inWork + `/$SRPM" >/rpmflow/installed
spare_dnf
run_mock --offline --no-clean --no-cleanup-after --rebuild "` + inWork + `/$SRPM" || code=$?
[ $code != 0 ] || exit 0
for f in /var/lib/mock/*/root/builddir/build/SRPMS/*src.rpm; do
	case $f in
	*.buildreqs.nosrc.rpm) cp "$f" "$OUT" || true ;;
	*) [ ! -f "$f" ] || [ "$(requires "$f")" = "$(requires "` + inWork + `/$SRPM")" ] || cp "$f" "$OUT" || true ;;
	esac
done
exit $code`
)

// scriptShell enters the root as the user that builds. What rpmbuild left there is as it was.
const scriptShell = `give_devices
run_mock --offline --quiet --no-clean --no-cleanup-after --unpriv ` +
	`--shell "cd /builddir/build/BUILD 2>/dev/null || cd /builddir; exec bash -i || exec sh -i"`
