# mock refuses plain root: it wants an unprivileged user with an entry in passwd, who owns the results.
group=$(sed -n 's/^mock:[^:]*:\([0-9]*\):.*/\1/p' /etc/group)
[ -n "$group" ] || { echo "rpmflow: there is no group mock in the image: is mock installed in it?" >&2; exit 3; }
command -v mock >/dev/null || { echo "rpmflow: there is no mock in the image's PATH" >&2; exit 3; }
SUDO_UID=61000 SUDO_GID=$group
export SUDO_UID SUDO_GID
if ! grep -q "^rpmflow:" /etc/passwd; then
	echo "rpmflow:x:$SUDO_UID:$group:rpmflow:/:/sbin/nologin" >>/etc/passwd
	sed -i -e '/^mock:/{s/:$/:rpmflow/;t' -e 's/$/,rpmflow/' -e '}' /etc/group
fi
mkdir -p "$OUT"
chgrp "$group" "$OUT"
chmod 2775 "$OUT"
[ -f "$CONFIG" ] || { echo "rpmflow: ERROR: there is no mock configuration $CONFIG in the image: check the target's config" >&2; exit 3; }
mkdir -p /rpmflow/target
touch /rpmflow/options.cfg /rpmflow/repositories.cfg /rpmflow/epoch.cfg
cat "$CONFIG" /rpmflow/options.cfg /rpmflow/override.cfg /rpmflow/repositories.cfg /rpmflow/epoch.cfg >"/rpmflow/target/$CHROOT.cfg"
# Without it mock warns each time it starts that it takes its own.
[ -e "$CONFIG_DIR/logging.ini" ] || [ ! -f /etc/mock/logging.ini ] || [ ! -d "$CONFIG_DIR" ] || cp /etc/mock/logging.ini "$CONFIG_DIR/" || true
cache=/var/lib/mock/*/root/var/cache
# Packages that earlier containers have downloaded lie below dnf's own as a layer that cannot be written to; what is downloaded now lies on
# top, outside of the image that is made. dnf compares their checksums with the repository's metadata.
use_packages() {
	for d in /rpmflow/packages/*/*/*/; do
		d=${d#/rpmflow/packages/} d=${d%/}
		case $d in '*'* | *,*) continue ;; esac
		root=/var/lib/mock/${d%%/*}
		at=$root/root/var/cache/${d#*/}/packages
		mkdir -p "$at" "/rpmflow/work/packages/$d" "/rpmflow/work/overlay/$d"
		chgrp "$group" "$root"
		chmod 2775 "$root"
		escaped=$(printf %s "$d" | sed 's/[:\\]/\\&/g')
		mount -t overlay overlay -o "lowerdir=/rpmflow/packages/$escaped,upperdir=/rpmflow/work/packages/$escaped,workdir=/rpmflow/work/overlay/$escaped" "$at" ||
			echo "rpmflow: what was downloaded from ${d##*/} before is downloaded again" >&2
	done
}
# Takes what was downloaded out of the root, so that the image is smaller, and keeps it for others.
keep_packages() {
	for at in $cache/*/*/packages; do
		d=${at#/var/lib/mock/}
		d=${d%%/*}/${d#*/root/var/cache/}
		d=${d%/packages}
		[ -d "$at" ] && ! grep -qF " $at overlay " /proc/self/mounts || continue
		mkdir -p "/rpmflow/work/packages/$d"
		find "$at" -mindepth 1 -maxdepth 1 -name '*.rpm' -type f -exec mv -t "/rpmflow/work/packages/$d" {} +
		rm -rf "${at:?}"/*
	done
}
# Says what dnf has seen of the repositories.
note_repositories() {
	keep_packages
	for f in $cache/*/*/repodata/repomd.xml; do
		[ ! -f "$f" ] || sha256sum "$f"
	done | grep -v -e '-bootstrap/root/' >"$OUT/repositories" || true
}
# A word that changes whenever packages are installed or removed.
installed() {
	for f in /var/lib/mock/*/root/var/lib/rpm/* /var/lib/mock/*/root/usr/lib/sysimage/rpm/*; do
		case $f in *-shm | *.lock | *.lock.*) continue ;; esac
		[ ! -f "$f" ] || sha256sum "$f"
	done | sha256sum
}
# Puts the container's devices into the root, and into the one from which dnf runs, and a /dev/shm without the engine's limit: the container's
# limits are enough.
give_devices() {
	for root in /var/lib/mock/*/root; do
		mount -n --rbind /dev "$root/dev"
		mount -n -t tmpfs tmpfs "$root/dev/shm"
	done
}
# dnf runs where the bootstrap root is, if there is one.
spare_dnf() {
	for root in / /var/lib/mock/*-bootstrap/root/; do
		[ -d "$root" ] || continue
		mkdir -p "${root}rpmflow/bin"
		for name in dnf-3 dnf5; do
			if [ -x "${root}bin/sh" ]; then
				cp /rpmflow/builddep "${root}rpmflow/bin/$name"
			else
				ln -sfn "/usr/bin/$name" "${root}rpmflow/bin/$name"
			fi
		done
		[ "$root" = / ] || [ ! -f /rpmflow/installed ] || cp /rpmflow/installed "${root}rpmflow/installed"
	done
}
run_mock() { mock --configdir "$CONFIG_DIR" -r "/rpmflow/target/$CHROOT.cfg" --resultdir "$OUT" "$@"; }
# Into the image of the root, as mock expands the configuration; without what opens a repository.
keep_config() {
	run_mock --debug-config-expanded >"$OUT/config"
	sed -e 's,://[^/@[:space:]]*@,://***@,g' -e 's/\(password[[:space:]]*=[[:space:]]*\)[^\\[:space:]]*/\1***/g' "$OUT/config" >/rpmflow/expanded.cfg
}
# Into the results, for who asks later how it was built.
show_config() { cat /rpmflow/expanded.cfg /rpmflow/repositories.cfg /rpmflow/epoch.cfg >"$OUT/mock.cfg"; }
