#!/bin/sh
# Stands before dnf's builddep where a package is built: what was installed into the root for the same requirements is not looked for
# again. Everything else is dnf's. The link's name says whose.
dnf=/usr/bin/${0##*/}
count=0 package=
for argument; do
	case $argument in *.src.rpm) count=$((count + 1)) package=$argument ;; esac
done
if [ "$count" = 1 ] && [ -s /rpmflow/installed ]; then
	requires=$(rpm -qpR "$package" 2>/dev/null | LC_ALL=C sort -u)
	if [ "$requires" = "$(cat /rpmflow/installed)" ]; then
		echo "rpmflow: all that the package requires was installed with the root's dependencies"
		exit 0
	fi
fi
exec "$dnf" "$@"
