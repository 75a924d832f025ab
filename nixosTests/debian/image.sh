#!/usr/bin/env bash
# Makes the disk of a machine, as a file: image.sh OUT [PACKAGE…]. A small Debian with what NixOS has for the
# appliance to look at, the packages, the files below image/, and without the units that `masked` lists, which only
# make a boot slower.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
out=$(realpath -m "${1:?usage: image.sh OUT [PACKAGE…]}")
SUITE=trixie
PACKAGES=(
    systemd systemd-sysv systemd-boot-tools systemd-cryptsetup dbus udev libpam-systemd
    nftables iproute2 iputils-ping netcat-openbsd dnsmasq-base chrony
    cryptsetup-bin e2fsprogs nix-bin openssl ca-certificates
    bsdutils bsdextrautils procps util-linux sqlite3 "${@:2}"
)

work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
    --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$(IFS=,; echo "${PACKAGES[*]}")" "$SUITE" "$work/root"

if [ -e "$work/root/vmlinuz" ]; then
    cp --remove-destination "$(realpath "$work/root"/boot/vmlinuz-*)" "$work/root/vmlinuz"
fi
cp -a --no-preserve=ownership "$here/image/." "$work/root/"
while read -r unit; do ln -sf /dev/null "$work/root/etc/systemd/system/$unit"; done <"$here/masked"
ln -sf /usr/lib/systemd/system/multi-user.target "$work/root/etc/systemd/system/default.target"
mkdir -p "$work/root/var/log/journal" "$work/root/var/backup"
: >"$work/root/etc/fstab"
: >"$work/root/etc/resolv.conf"
: >"$work/root/etc/machine-id"
rm -rf "$work/root"/var/{lib/apt/lists,cache/apt}/*

mke2fs -q -t ext4 -L root -d "$work/root" -E lazy_itable_init=1,lazy_journal_init=1 -J size=16 \
    "$work/image" 2G
mv "$work/image" "$out"
