#!/bin/sh
# What NixOS's switch-to-configuration does, in its order and with its exit codes, as far as an activation
# can tell: the lock, the boot default, the link to the running system, units that differ.
PATH=/usr/bin:/bin:/usr/sbin:/sbin
system=@system@
kind=@kind@
verb=${1:-}

case $verb in
    check | dry-activate | test | boot | switch) ;;
    *) echo "usage: switch-to-configuration check|dry-activate|test|boot|switch" >&2; exit 1 ;;
esac

# flock(1) stays, so that the lock is seen to be held by somebody who lives.
lock=/run/nixos/switch-to-configuration.lock
mkdir -p /run/nixos
[ "${LOCKED:-}" = yes ] || LOCKED=yes exec flock --nonblock --conflict-exit-code 11 $lock "$0" "$@"

echo "$verb" >>/run/nixos/verbs
[ "$verb" = check ] && exit 0

# As systemd-boot has it: an entry for each system that some profile has, and this one by default.
install_boot_loader() {
    mkdir -p /boot/loader/entries /boot/EFI/nixos
    for kept in "$system" /nix/var/nix/profiles/system-*-link /nix/var/nix/profiles/system-profiles/*-link; do
        [ -e "$kept" ] || continue
        kept=$(readlink -f "$kept")
        name=${kept##*/}
        cp "$kept/kernel" /boot/EFI/nixos/linux.efi
        cat >"/boot/loader/entries/$name.conf" <<ENTRY
title NixOS
version $name
linux /EFI/nixos/linux.efi
options init=$kept/init quiet
ENTRY
    done
    name=${system##*/}
    echo "default $name.conf" >/boot/loader/loader.conf.new
    mv /boot/loader/loader.conf.new /boot/loader/loader.conf
}

case $verb in boot | switch) install_boot_loader || exit 1 ;; esac
[ "$verb" = boot ] && exit 0

old=$(readlink -f /run/current-system)
differs() { ! cmp -s "$old/$1" "$system/$1"; }

if differs init-interface-version; then
    echo "this system cannot be switched to while running" >&2
    exit 100
fi
for unit in toy second compliance-executor; do
    file=etc/systemd/system/$unit.service
    differs "$file" || continue
    changed="${changed:-} $unit.service"
    names="${names:+$names, }$unit.service"
done
if [ "$verb" = dry-activate ]; then
    [ -z "${names:-}" ] || echo "would restart the following units: $names" >&2
    exit 0
fi

case $kind in
    lies) exit 0 ;;
    refuses) echo "the activation script failed" >&2; exit 2 ;;
    hangs) trap '' TERM; while :; do sleep 3600; done ;;
    slow) sleep 4 ;;
esac

result=0
"$system/activate" || result=2
for unit in "$system"/etc/systemd/system/*; do
    ln -sfn "$unit" /run/systemd/system/
done

systemctl daemon-reload
systemctl reset-failed
# shellcheck disable=SC2086
[ -z "${changed:-}" ] || systemctl restart $changed || result=4
[ "$kind" = slow ] && sleep 2
systemctl start toy.service second.service compliance-executor.service || result=4
# As the real one: a unit that is not well hides that the activation script failed.
[ "$kind" = hides ] && result=4
[ -z "$(systemctl list-units --state=failed --plain --no-legend)" ] || result=4
exit $result
