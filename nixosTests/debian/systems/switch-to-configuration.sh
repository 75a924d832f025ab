#!/bin/bash
# What NixOS's switch-to-configuration does, in its order and with its exit codes, as far as an activation can
# tell: the lock, the boot default, the link to the running system, units that differ.
PATH=/usr/bin:/usr/sbin
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

[ "$verb" = check ] && exit 0

# As systemd-boot has it: an entry for each system that some profile has, and this one by default.
install_boot_loader() {
    local name kept profiles=/nix/var/nix/profiles
    mkdir -p /boot/loader/entries /boot/EFI/nixos
    for kept in "$system" $profiles/system-*-link $profiles/system-profiles/*-link; do
        [ -e "$kept" ] || continue
        kept=$(readlink -f "$kept")
        name=${kept##*/}
        cp "$kept/kernel" /boot/EFI/nixos/linux.efi
        printf 'title NixOS\nversion %s\nlinux /EFI/nixos/linux.efi\noptions init=%s/init quiet\n' \
            "$name" "$kept" >"/boot/loader/entries/$name.conf"
    done
    name=${system##*/}
    echo "default $name.conf" >/boot/loader/loader.conf.new
    sync -f /boot
    mv /boot/loader/loader.conf.new /boot/loader/loader.conf
    sync -f /boot
}

case $verb in boot | switch) install_boot_loader || exit 1 ;; esac
[ "$verb" = boot ] && exit 0

old=$(readlink -f /run/current-system)
if ! cmp -s "$old/init-interface-version" "$system/init-interface-version"; then
    echo "this system cannot be switched to while running" >&2
    exit 100
fi

units_of() { find "$1/etc/systemd/system" -maxdepth 1 -type f -printf '%f\n' | sort; }
gone=() changed=() wanted=()
for unit in $(units_of "$old"); do
    if [ ! -e "$system/etc/systemd/system/$unit" ]; then
        gone+=("$unit")
    elif ! cmp -s "$old/etc/systemd/system/$unit" "$system/etc/systemd/system/$unit"; then
        systemctl --quiet is-active "$unit" && changed+=("$unit")
    fi
done
for unit in "$system"/etc/systemd/system/*.target.wants/*; do wanted+=("${unit##*/}"); done
if [ "$verb" = dry-activate ]; then
    echo "would stop: ${gone[*]}, would restart: ${changed[*]}"
    exit 0
fi

[ ${#gone[@]} = 0 ] || systemctl stop "${gone[@]}"
"$system/activate" || exit 2
for unit in "$old"/etc/systemd/system/*; do rm -f "/run/systemd/system/${unit##*/}"; done
ln -s "$system"/etc/systemd/system/* /run/systemd/system/

result=0
systemctl daemon-reload
systemctl reset-failed
[ "$kind" != slow ] || sleep 4
[ ${#changed[@]} = 0 ] || systemctl restart "${changed[@]}" || result=4
systemctl start "${wanted[@]}" || result=4
[ -z "$(systemctl list-units --state=failed --plain --no-legend)" ] || result=4
exit $result
