# Lays out one system: the files that NixOS's toplevel has, and its units.
set -eu
PATH=/usr/bin:/bin
to=$out/etc/systemd/system
mkdir -p "$out/bin" "$to"
[ "$role" = mcp ] || touch "$out/etc/appliance"
ln -s "$programs" "$out/sw"
echo "scenarios-$title" >"$out/nixos-version"
echo 1 >"$out/init-interface-version"
echo "quiet loglevel=4" >"$out/kernel-params"
for part in kernel initrd kernel-modules; do ln -s "$kernel" "$out/$part"; done
echo '{}' >"$out/switch-inhibitors"
printf '#!/bin/sh\n' >"$out/init"
sed -e "s|@system@|$out|g" -e "s|@kind@|$kind|g" "$switch" >"$out/bin/switch-to-configuration"
# The activation script, which may be run at any time.
case $kind in
    refuses) first="echo 'the activation script failed' >&2; exit 2" ;;
    slow) first="sleep 4" ;;
    *) first=: ;;
esac
cat >"$out/activate" <<ACTIVATE
#!/bin/sh
PATH=/usr/bin
$first
ln -sfn $out /run/current-system.new && mv -T /run/current-system.new /run/current-system
ACTIVATE
chmod +x "$out/init" "$out/activate" "$out/bin/switch-to-configuration"

for folder in $units; do cp -r "$folder/." "$to"; chmod -R u+w "$to"; done
for unit in "$to"/compliance-{agent,executor}.service; do
    [ ! -e "$unit" ] || printf '\n[Service]\nEnvironment=GENERATION=%s\n' "$title" >>"$unit"
done
# Where its guard is looked for, as the module has it.
guard=$to/compliance-trial.service
if [ -e "$guard" ]; then
    mkdir -p "$out/etc/compliance"
    sed -n 's/^ExecStart=.* guard //p' "$guard" >"$out/etc/compliance/trial-boot"
fi
case $kind in
    broken) cat >"$to/broken.service" <<'UNIT' ;;
[Service]
ExecStartPre=/bin/false
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
UNIT
    offline | dead) cat >"$to/offline.service" <<'UNIT' ;;
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip address flush dev eth1
ExecStop=/usr/sbin/ip address add 192.168.1.1/24 dev eth1
[Install]
WantedBy=multi-user.target
UNIT
esac
if [ "$kind" = dead ]; then
    printf 'ExecStart=\nExecStart=/bin/false\n' >>"$to/compliance-executor.service"
fi

# As NixOS, which enables units when it builds them.
cd "$to"
sed -s -n 's/^WantedBy=//p; t name; b; :name; F' ./* | while read -r target && read -r unit; do
    mkdir -p "$target.wants"
    ln -s "../${unit#./}" "$target.wants/"
done
