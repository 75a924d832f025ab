"""Machines of QEMU, without KVM: slower, and a whole computer with Debian's own kernel."""

import io
import shlex
import socket
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from machine import Machine, end_with_parent

MEMORY_MB = 512


@dataclass(frozen=True)
class Qemu:
    """What the machines are made of."""

    kernel: Path
    disk: Path
    hosts: str
    # Whether machines write to the disk itself, and not to a copy of their own.
    shared: bool = False


class QemuMachine(Machine):
    """A computer that boots from NVMe, for which Debian's kernel needs no initial ramdisk."""

    def spawn(self, console: int) -> None:
        made, root = self.backend, self.folder / "root.qcow2"
        second = self.folder / "second.img"
        if not second.exists():
            with open(second, "wb") as empty:
                empty.truncate(64 << 20)
        if made.shared:
            drive = f"file={made.disk},format=raw"
        else:
            drive = f"file={root},format=qcow2"
            if not root.exists():
                subprocess.run(
                    ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", made.disk, root], check=True
                )
        ours, theirs = socket.socketpair()
        cable = self.hub.plug_in(self.name, socket.SOCK_DGRAM)
        words = ["root=/dev/nvme0n1", "console=ttyS0", "mitigations=off", "tsc=reliable", "no_timer_check", "apparmor=0"]
        arguments = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", str(MEMORY_MB),
            "-kernel", str(made.kernel), "-append", " ".join([*words, *self.command_line(made.hosts)]),
            "-drive", f"if=none,id=root,{drive},cache=unsafe", "-device", "nvme,serial=root,drive=root",
            # So that the second disk is vdb, as on NixOS's test machines.
            "-drive", "if=none,id=none,driver=null-co,size=1M", "-device", "virtio-blk-pci,drive=none",
            "-drive", f"if=none,id=second,file={second},format=raw,cache=unsafe",
            "-device", "virtio-blk-pci,drive=second", "-device", "virtio-rng-pci", "-serial", "stdio",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=shell,fd={theirs.fileno()}",
            "-device", "virtconsole,chardev=shell",
            "-netdev", f"dgram,id=net,local.type=fd,local.str={cable.fileno()}",
            "-device", f"virtio-net-pci,netdev=net,mac=52:54:00:12:01:{self.number:02x},romfile=",
        ]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            pass_fds=[theirs.fileno(), cable.fileno()], start_new_session=True, preexec_fn=end_with_parent,
        )
        theirs.close()
        cable.close()
        self.line = ours

    def place(self, source: Path, target: str) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(source, arcname="copied")
        data, path = packed.getvalue(), shlex.quote(target)
        assert self.line
        # The line is the archive's for as many bytes as the archive has.
        self.line.sendall(
            f'd=$(mktemp -d); echo ready; head -c {len(data)} | tar -x -C $d && mkdir -p "$(dirname {path})"'
            f" && cp -rT $d/copied {path}; echo $?; rm -r $d\n".encode()
        )
        self.read_line()
        self.line.sendall(data)
        if (code := self.read_line()) != b"0":
            raise RuntimeError(f"{source} could not be copied to {self.name}: {code!r}")
