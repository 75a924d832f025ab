#!/usr/bin/env bash
# Builds user-mode Linux from Debian's own source, as kernel.config says: kernel.sh OUT. About 12 minutes of one
# core. Debian's package user-mode-linux will not do: it has no `table inet`. Nor will the kernel of Debian
# stable, 6.12: it dies at once on a processor with AMX, whose registers are more than it has room for.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
out=$(realpath -m "${1:?usage: kernel.sh OUT}")
SUITE=trixie-backports

work=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# An apt of its own, for the suite that has the source, from the mirror that this machine's apt uses.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -E '/debian/*$' | head -n 1)
mkdir -p lists/partial archives/partial
echo "deb $mirror $SUITE main" >sources.list
own=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$work/lists"
    -o "Dir::Cache=$work" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
apt-get "${own[@]}" update -q
source=$(apt-cache "${own[@]}" pkgnames linux-source- | grep -E -- '-[0-9.]+$' | sort -V | tail -n 1)
apt-get "${own[@]}" download -q "$source"

mkdir linux
dpkg --fsys-tarfile "$source"_*.deb | tar -xO "./usr/src/$source.tar.xz" | xz -dc |
    tar -x -C linux --strip-components=1
cd linux
make ARCH=um defconfig
./scripts/kconfig/merge_config.sh -m .config "$here/kernel.config"
make ARCH=um olddefconfig
make ARCH=um -j"$(nproc)" linux
strip -o "$work/kernel" linux
mv "$work/kernel" "$out"
