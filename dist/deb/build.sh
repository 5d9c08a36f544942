#!/usr/bin/env bash
# Makes a Debian package of a hence that is built already. The same program and SOURCE_DATE_EPOCH make the same bytes.
#
#   dist/deb/build.sh target/release/hence [FOLDER]       prints the path of the package, below FOLDER or here
#
# HENCE_DEB_LEVEL=1 packs it less tightly and faster.
#
# It needs dpkg-deb and strip, and nothing of debhelper. A program for another system than this one can't be
# asked for its man pages and completions; build it there.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

program=$(realpath "${1:?which program? dist/deb/build.sh target/release/hence}")
folder=$(realpath "${2:-.}")
here=$(realpath "$(dirname "$0")")
dist=$(dirname "$here")
# When the changelog's last entry was written, unless somebody says something else.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date -d "$(sed -n 's/^ -- .*>  //p' "$here/changelog" | head -1)" +%s)}
version=$(sed -n '1s/.*(\(.*\)).*/\1/p' "$here/changelog")
said=$("$program" --version)
if [ "${said#hence }" != "${version%-*}" ]; then
    echo "$program says it is $said, and $here/changelog is about $version" >&2
    exit 1
fi
architecture=$(dpkg --print-architecture)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
put() { install -D -m "$1" "$2" "$root/$3"; }

strip --strip-unneeded -o "$work/hence" "$program"
put 755 "$work/hence" usr/bin/hence
put 644 "$dist/hence-watch.service" lib/systemd/system/hence-watch.service
put 644 "$dist/hence.catalog" usr/lib/systemd/catalog/hence.catalog
put 644 "$dist/left-behind.conf" etc/hence/left-behind.conf
"$program" completions bash > "$work/bash"
"$program" completions zsh > "$work/zsh"
"$program" completions fish > "$work/fish"
put 644 "$work/bash" usr/share/bash-completion/completions/hence
put 644 "$work/zsh" usr/share/zsh/vendor-completions/_hence
put 644 "$work/fish" usr/share/fish/vendor_completions.d/hence.fish

"$program" man "$work/man"
for page in "$work"/man/*.1; do
    put 644 "$page" "usr/share/man/man1/$(basename "$page")"
done
for page in "$dist"/man/*.5; do
    put 644 "$page" "usr/share/man/man5/$(basename "$page")"
done
put 644 "$here/copyright" usr/share/doc/hence/copyright
put 644 "$here/lintian-overrides" usr/share/lintian/overrides/hence
put 644 "$here/changelog" usr/share/doc/hence/changelog.Debian
for page in "$dist"/../docs/*.md; do
    put 644 "$page" "usr/share/doc/hence/$(basename "$page")"
done
# For systems whose process 1 is hence and that have no systemd, whose package has files of these names.
put 644 "$dist/README.md" usr/share/doc/hence/examples/README.md
for file in dbus/org.freedesktop.systemd1.conf polkit/org.freedesktop.systemd1.policy; do
    put 644 "$dist/$file" "usr/share/doc/hence/examples/$file"
done
find "$root/usr/share/man" "$root/usr/share/doc/hence/changelog.Debian" -type f -exec gzip -9n {} +

# The newest version of a symbol that the program needs is what it needs of libc.
libc=$(grep -aoE 'GLIBC_[0-9]+\.[0-9]+' "$work/hence" | sed 's/GLIBC_//' | sort -uV | tail -1)
mkdir "$root/DEBIAN"
cat > "$root/DEBIAN/control" << END
Package: hence
Version: $version
Architecture: $architecture
Maintainer: The authors of hence <hence@localhost>
Installed-Size: $(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
Depends: libc6 (>= ${libc:-2.36}), libgcc-s1 (>= 4.2)
Recommends: systemd, dbus
Section: admin
Priority: optional
Description: tells why units start, stop, restart and leave processes behind
 hence watches a machine whose process 1 is systemd and keeps a durable record
 of what led to what: who asked, which process ended by itself, which
 directive of which file passed that on. "hence why foo.service" answers
 months later; "hence loops" and "hence leaks" show units that go down and
 come up again and again, and processes that outlived their unit.
 .
 The unit hence-watch.service does the watching and is started when the
 package is installed. It changes nothing of what it watches. hence can also
 run systemd's unit files itself, as process 1 of containers or in the
 foreground.
END
echo /etc/hence/left-behind.conf > "$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "$here/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\0' | sort -z |
    xargs -0 md5sum > DEBIAN/md5sums)
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
package=$folder/hence_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz -z"${HENCE_DEB_LEVEL:-6}" --build "$root" "$package" > /dev/null
echo "$package"
