# Lays out one system: the files that NixOS's toplevel has, and two units.
set -eu
PATH=/usr/bin:/bin
units=$out/etc/systemd/system
mkdir -p "$out/bin" "$out/sw" "$units"
ln -s /usr/bin "$out/sw/bin"
echo "toy-$title" >"$out/nixos-version"
echo 1 >"$out/init-interface-version"
echo "quiet loglevel=4" >"$out/kernel-params"
ln -s "$kernel" "$out/kernel"
ln -s "$kernel" "$out/initrd"
ln -s "$kernel" "$out/kernel-modules"
echo '{}' >"$out/switch-inhibitors"
printf '#!/bin/sh\n' >"$out/init"
chmod +x "$out/init"
sed -e "s|@system@|$out|g" -e "s|@kind@|$kind|g" "$switch" >"$out/bin/switch-to-configuration"
chmod +x "$out/bin/switch-to-configuration"

case $kind in
    stumbles | hides) activates="exit 2" ;;
    *) activates= ;;
esac
cat >"$out/activate" <<SCRIPT
#!/bin/sh
PATH=/usr/bin:/bin
ln -sfn $out /run/current-system.tmp && mv -T /run/current-system.tmp /run/current-system
$activates
SCRIPT
chmod +x "$out/activate"

case $kind in
    broken) before=/bin/false start="/bin/sleep infinity" ;;
    sickens) before=/bin/true start="/bin/sh -c 'sleep 4; exit 1'" ;;
    *) before=/bin/true start="/bin/sleep infinity" ;;
esac
cat >"$units/toy.service" <<UNIT
[Unit]
Description=Tells that $title runs
[Service]
Type=exec
Environment=SYSTEM=$title
ExecStartPre=$before
ExecStart=$start
UNIT

again=no
case $kind in
    stops) second="/bin/sleep 1" ;;
    loops) second=/bin/false again=always ;;
    *) second="/bin/sleep infinity" ;;
esac
cat >"$units/second.service" <<UNIT
[Unit]
Description=Nobody has to name it for it to be missed
StartLimitIntervalSec=0
[Service]
Type=exec
Environment=SYSTEM=$title
ExecStart=$second
Restart=$again
RestartSec=1
UNIT

case $kind in
    headless) executor=/bin/false ;;
    *) executor="/usr/local/bin/compliance-executor serve --config /etc/compliance/executor.toml" ;;
esac
cat >"$units/compliance-executor.service" <<UNIT
[Unit]
Description=The executor, of $title
StartLimitIntervalSec=0
[Service]
Type=exec
Environment=SYSTEM=$title
ExecStart=$executor
Restart=always
RestartSec=500ms
RestrictAddressFamilies=AF_UNIX AF_NETLINK
IPAddressDeny=any
ReadOnlyPaths=/nix/store /nix/var/nix/db
UNIT

case $kind in
    useless) works=/bin/false ;;
    *) works=/bin/true ;;
esac
cat >"$units/probe.service" <<UNIT
[Unit]
Description=Whether $title is of use
[Service]
Type=oneshot
ExecStart=$works
UNIT
mkdir -p "$out/etc/compliance"
echo /var/lib/compliance/trial >"$out/etc/compliance/trial-boot"
cat >"$units/compliance-trial.service" <<UNIT
[Unit]
Description=Goes back from a trial boot
[Service]
ExecStart=/usr/local/bin/compliance-executor guard /var/lib/compliance/trial
UNIT

mkdir "$units/multi-user.target.wants"
for unit in toy second compliance-executor; do
    ln -s "../$unit.service" "$units/multi-user.target.wants/$unit.service"
done
