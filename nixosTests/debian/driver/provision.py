"""Puts the programs and the systems on a disk, once for all scenarios."""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import cache
from hub import Hub
from machine import Machine

SYSTEMS = cache.HERE / "systems"
ROOT = cache.HERE.parent.parent

# What is rendered, and how; as the modules' own documentation says.
MODULES = [ROOT / "modules", ROOT / "nixosTests/box.nix", ROOT / "nixosTests/mcp.nix", cache.HERE / "box.nix"]

# Each system is known by its name below /etc/scenarios/systems, here as on NixOS.
INSTALL = r"""
exec 2>&1
cd /root/provision
install -D -m 755 modules/egress.sh programs/libexec/compliance/egress.sh
programs=$(nix-store --add programs)
mkdir -p /etc/compliance /etc/scenarios/systems /boot /nix/var/nix/profiles units
for role in box:debian/box mcp:mcp; do
    nix --extra-experimental-features nix-command eval --store dummy:// --file modules/render.nix \
        --arg configuration "./nixosTests/${role#*:}.nix" --argstr prefix $programs --write-to rendered files
    cp -r rendered/compliance /etc/
    systemd-sysusers rendered/sysusers.d/*
    systemd-tmpfiles --create rendered/tmpfiles.d/*
    mv rendered/systemd/system units/${role%:*}
    rm -r rendered
done
units=$(nix-store --add units)
systems="(let at = builtins.storePath; in import ./systems {
    programs = at \"$programs\"; box = [ \"\${at \"$units\"}/box\" ./systems/units ]; mcp = [ \"\${at \"$units\"}/mcp\" ];
})"
for name in $(nix-instantiate --eval --strict --expr "toString (builtins.attrNames $systems)" | tr -d '"'); do
    nix-build --quiet --out-link /etc/scenarios/systems/$name --expr "$systems.$name" >/dev/null
done
box=$(readlink -f /etc/scenarios/systems/box)
nix-env -p /nix/var/nix/profiles/system --set $box
$box/bin/switch-to-configuration boot
rm -r /root/provision
"""


def programs_of(folder: Path, into: Path) -> Path:
    """A copy of the four programs, without what else a build leaves beside them."""
    into.mkdir(parents=True, exist_ok=True)
    for name in ("compliance-agent", "compliance-executor", "compliance-mcp", "compliancectl"):
        shutil.copy(folder / name, into / name)
    return into


def provision(make: Callable[..., Machine], disk: Path, onto: Path, given: argparse.Namespace) -> None:
    """Copies the disk, and installs the programs, and what the modules give, on the copy."""
    subprocess.run(["cp", "--sparse=always", disk, onto], check=True)
    with tempfile.TemporaryDirectory() as folder, open(given.work / "provision.log", "w", buffering=1) as log:
        machine = make("box", 1, Path(folder) / "box", Hub(), lambda line: print(line, file=log))
        try:
            machine.start()
            machine.copy_from_host(str(given.programs), "/root/provision/programs/bin")
            machine.copy_from_host(str(SYSTEMS), "/root/provision/systems")
            for path in MODULES:
                machine.copy_from_host(str(path), f"/root/provision/{path.relative_to(ROOT)}")
            machine.succeed(INSTALL)
            machine.shutdown()
        finally:
            machine.crash()
