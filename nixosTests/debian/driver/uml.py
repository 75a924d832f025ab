"""Machines of user-mode Linux: a kernel that is a process. No root, no KVM; it boots in seconds."""

import os
import shlex
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from machine import Machine, end_with_parent

# The serial line drops what is longer, without a word.
LINE = 2000

MEMORY_MB = 512


@dataclass(frozen=True)
class UserModeLinux:
    """What the machines are made of."""

    kernel: Path
    disk: Path
    hosts: str
    # Whether machines write to the disk itself, and not to a copy of their own.
    shared: bool = False


class UserModeMachine(Machine):
    """A process, with a second disk, empty, beside the one that it boots from."""

    def spawn(self, console: int) -> None:
        share = self.folder / "share"
        share.mkdir(exist_ok=True)
        second = self.folder / "second.img"
        if not second.exists():
            with open(second, "wb") as empty:
                empty.truncate(64 << 20)
        ours, theirs = socket.socketpair()
        cable = self.hub.plug_in(self.name, socket.SOCK_SEQPACKET)
        made = self.backend
        root = str(made.disk) if made.shared else f"{self.folder}/root.cow,{made.disk}"
        arguments = [
            str(made.kernel), f"mem={MEMORY_MB}M", f"ubd0={root}", f"ubd1={second}", "root=/dev/ubda",
            "con=null", "con0=null,fd:1", "ssl=null", f"ssl1=fd:{theirs.fileno()}",
            f"vec0:transport=fd,fd={cable.fileno()},mac=52:54:00:12:01:{self.number:02x},depth=64",
            f"hostfs={share}", f"umid={self.name}", f"uml_dir={self.folder}", *self.command_line(made.hosts),
        ]
        # A machine's memory is a file in TMPDIR.
        environment = {**os.environ, "TMPDIR": "/dev/shm"}
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=environment,
            pass_fds=[theirs.fileno(), cable.fileno()], start_new_session=True, preexec_fn=end_with_parent,
        )
        theirs.close()
        cable.close()
        self.line = ours

    def carried(self, command: str) -> str:
        if len(command) < LINE:
            return command
        (self.folder / "share/command").write_text(command)
        return "source /run/driver/command"

    def place(self, source: Path, target: str) -> None:
        shared = self.folder / "share/copied"
        if source.is_dir():
            shutil.copytree(source, shared, symlinks=True)
        else:
            shutil.copy(source, shared)
        path = shlex.quote(target)
        self.succeed(f'mkdir -p "$(dirname {path})" && cp -rT /run/driver/copied {path}')
        if source.is_dir():
            shutil.rmtree(shared)
        else:
            shared.unlink()

