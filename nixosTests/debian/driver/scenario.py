"""One scenario: its machines, what its script may name, and what becomes of it."""

import contextlib
import re
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from hub import Hub
from machine import Machine

# In the order of the test network's addresses, as on NixOS.
NODES = ("box", "mcp")

PRELUDE = Path(__file__).resolve().parents[2] / "prelude.py"


def hosts() -> str:
    """The names of all machines, for the kernel's command line."""
    return ",".join(f"192.168.1.{number}={name}" for number, name in enumerate(NODES, 1))


class Log:
    """Lines with the seconds since the scenario began, by methods that the log of the NixOS test driver has too."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w", buffering=1)
        self._began = time.monotonic()

    def info(self, message: str) -> None:
        """Leaves a line."""
        print(f"[{time.monotonic() - self._began:7.2f}] {message}", file=self._file)

    @contextlib.contextmanager
    def subtest(self, name: str) -> Iterator[None]:
        """A part of a scenario that has a name."""
        self.info(f"subtest: {name}")
        yield
        self.info(f"subtest holds: {name}")


def impossible(script: Path, backend: str) -> str:
    """Why machines of this backend cannot do a scenario, as it says in a line such as `# skipped on uml: why`."""
    said = re.search(rf"^# skipped on {backend}: (.+)$", script.read_text(), re.MULTILINE)
    return said[1] if said else ""


def run(script: Path, make: Callable[..., Machine], log: Log, keep: bool) -> bool:
    """Runs a scenario on machines of its own, and says whether all holds."""
    folder = Path(tempfile.mkdtemp(prefix=f"{script.stem}."))
    hub = Hub()
    machines = {name: make(name, number, folder / name, hub, log.info) for number, name in enumerate(NODES, 1)}

    def start_all() -> None:
        for machine in machines.values():
            machine.start()

    names = {**machines, "start_all": start_all, "subtest": log.subtest, "log": log}
    try:
        for source in (PRELUDE, script):
            exec(compile(source.read_text(), source, "exec"), names)
        return True
    except Exception:
        why = traceback.format_exc()
        for machine in machines.values():
            with contextlib.suppress(Exception):
                # What commands wrote to stderr is on the console.
                machine.log((machine.folder / "console.log").read_text(errors="replace")[-2000:])
                machine.log(machine.execute("journalctl --no-pager --no-hostname -n 300", timeout=60)[1])
        log.info(why)
        return False
    finally:
        for machine in machines.values():
            machine.crash() if keep else machine.remove()
        if not keep:
            folder.rmdir()
