"""A machine, with the methods of the NixOS test driver that the scenarios use."""

import abc
import base64
import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hub import Hub

# The longest that anything takes unless a scenario says otherwise, as in the NixOS test driver.
PATIENCE = 900

# How often is looked whether something has happened.
PACE = 0.2

PR_SET_PDEATHSIG = 1


class RequestedAssertionFailed(Exception):
    """What a scenario demands is not so."""


class Machine(abc.ABC):
    """A machine of one backend: how it starts, and how files reach it, is the backend's."""

    def __init__(self, backend: Any, name: str, number: int, folder: Path, hub: Hub, log: Callable[[str], None]) -> None:
        self.backend = backend
        self.name = name
        self.number = number
        self.folder = folder
        self.hub = hub
        self.write_log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.line: socket.socket | None = None
        self.unread = b""
        folder.mkdir(parents=True)

    @abc.abstractmethod
    def spawn(self, console: int) -> None:
        """Starts the machine: sets `process`, and `line`, which the machine's shell listens at."""

    @abc.abstractmethod
    def place(self, source: Path, target: str) -> None:
        """Copies a file or folder of this machine to `target` of that one, which runs."""

    def command_line(self, hosts: str) -> list[str]:
        """What the machine's kernel is told, whatever the machine is made of."""
        return [
            "rw", "rootfstype=ext4", "init=/usr/local/sbin/scenario-init", "quiet", "panic=1",
            "systemd.show_status=false", f"systemd.hostname={self.name}", f"systemd.machine_id={self.number:032x}",
            f"scenario.system={self.name}", f"scenario.ip=192.168.1.{self.number}/24", f"scenario.hosts={hosts}",
        ]

    # -- Power

    def start(self) -> None:
        """Starts the machine, unless it runs."""
        if self.process:
            return
        self.unread = b""
        with open(self.folder / "console.log", "ab") as console:
            self.spawn(console.fileno())
        assert self.line
        self.line.settimeout(PATIENCE)
        while b"Spawning backdoor root shell" not in self.read_line():
            pass

    def crash(self) -> None:
        """Cuts the power."""
        if not self.process:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        if self.line:
            self.line.close()
        self.log("power cut")

    def shutdown(self) -> None:
        """Shuts the machine down, and waits until it is off."""
        if self.process and self.line:
            self.line.sendall(b"systemctl poweroff\n")
            self.wait_for_shutdown()

    def wait_for_shutdown(self) -> None:
        """Waits until the machine is off."""
        if self.process:
            self.process.wait(PATIENCE)
            self.crash()

    def block(self) -> None:
        """Pulls the machine's cable."""
        self.hub.unplugged.add(self.name)

    def unblock(self) -> None:
        """Plugs the cable in again."""
        self.hub.unplugged.discard(self.name)

    # -- Commands

    def read_line(self) -> bytes:
        """The next line that the machine's shell prints."""
        assert self.line
        while b"\n" not in self.unread:
            more = self.line.recv(1 << 16)
            if not more:
                console = (self.folder / "console.log").read_text(errors="replace")
                raise RuntimeError(f"{self.name} is gone; its console ends: {console[-6000:]}")
            self.unread += more
        line, self.unread = self.unread.split(b"\n", 1)
        return line

    def carried(self, command: str) -> str:
        """What is sent in place of a command that the line cannot carry."""
        return command

    def execute(self, command: str, check_return: bool = True, timeout: int | None = PATIENCE) -> tuple[int, str]:
        """Runs a command: its exit code, and what it printed."""
        self.start()
        assert self.line
        limit = f"timeout {timeout} " if timeout else ""
        script = shlex.quote(self.carried("set -euo pipefail; " + command))
        status = "echo ${PIPESTATUS[0]}\n" if check_return else ""
        self.line.sendall(f"{limit}bash -c {script} </dev/null | (base64 -w 0; echo)\n{status}".encode())
        output = base64.b64decode(self.read_line()).decode(errors="replace")
        return (int(self.read_line()) if check_return else -1), output

    def succeed(self, *commands: str, timeout: int | None = None) -> str:
        """Runs commands that must succeed, and gives what they printed."""
        output = ""
        for command in commands:
            self.log(f"must succeed: {command}")
            code, printed = self.execute(command, timeout=timeout)
            if code:
                raise RequestedAssertionFailed(f"{self.name}: `{command}` failed with {code}: {printed}")
            output += printed
        return output

    def fail(self, *commands: str, timeout: int | None = None) -> str:
        """Runs commands that must fail, and gives what they printed."""
        output = ""
        for command in commands:
            self.log(f"must fail: {command}")
            code, printed = self.execute(command, timeout=timeout)
            if not code:
                raise RequestedAssertionFailed(f"{self.name}: `{command}` succeeded: {printed}")
            output += printed
        return output

    def wait_until(self, look: Callable[[], str | None], timeout: float, what: str) -> str:
        """Looks until there is something to see."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            seen = look()
            if seen is not None:
                return seen
            time.sleep(PACE)
        raise RequestedAssertionFailed(f"{self.name}: not within {timeout} s: {what}")

    def wait_until_succeeds(self, command: str, timeout: int = PATIENCE) -> str:
        """Repeats a command until it succeeds."""
        self.log(f"must succeed at last: {command}")

        def look() -> str | None:
            code, printed = self.execute(command, timeout=timeout)
            return None if code else printed

        return self.wait_until(look, timeout, command)

    def wait_until_fails(self, command: str, timeout: int = PATIENCE) -> str:
        """Repeats a command until it fails."""
        self.log(f"must fail at last: {command}")

        def look() -> str | None:
            code, printed = self.execute(command, timeout=timeout)
            return printed if code else None

        return self.wait_until(look, timeout, f"the end of: {command}")

    def wait_for_unit(self, unit: str, timeout: int = PATIENCE) -> None:
        """Waits until a unit is active, and not for one that has failed."""

        def look() -> str | None:
            state = self.get_unit_property(unit, "ActiveState")
            if state == "failed":
                raise RequestedAssertionFailed(f"{self.name}: {unit} has failed")
            return state if state == "active" else None

        self.wait_until(look, timeout, f"{unit} is active")

    def get_unit_property(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.execute(f"systemctl show {shlex.quote(unit)} --property={name} --value")[1].strip()

    def wait_for_file(self, path: str, timeout: int = PATIENCE) -> None:
        """Waits until there is such a file."""
        self.wait_until_succeeds(f"test -e {shlex.quote(path)}", timeout)

    def wait_for_open_port(self, port: int, timeout: int = PATIENCE) -> None:
        """Waits until something listens at a port of the machine's own."""
        self.wait_until_succeeds(f"nc -z localhost {port}", timeout)

    def log(self, message: str) -> None:
        """Leaves a line in the scenario's log."""
        self.write_log(f"{self.name}: {message}")

    def copy_from_host(self, source: str, target: str) -> None:
        """Copies a file or folder of this machine to `target` of that one."""
        self.start()
        self.place(Path(source), target)

    def remove(self) -> None:
        """Throws the machine away."""
        self.crash()
        shutil.rmtree(self.folder)


def end_with_parent() -> None:
    """Called in the new process: no machine outlives the driver."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
