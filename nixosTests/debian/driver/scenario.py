"""One scenario: its machines, what its script may name, and what becomes of it."""

import contextlib
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
    """Lines with the seconds since the scenario began."""

    def __init__(self, path: Path) -> None:
        self.file = open(path, "w", buffering=1)
        self.began = time.monotonic()

    def __call__(self, message: str) -> None:
        print(f"[{self.seconds():7.2f}] {message}", file=self.file)

    def seconds(self) -> float:
        """How long the scenario has been running."""
        return time.monotonic() - self.began

    @contextlib.contextmanager
    def subtest(self, name: str) -> Iterator[None]:
        """A part of a scenario that has a name."""
        self(f"subtest: {name}")
        yield
        self(f"subtest holds: {name}")


def run(script: Path, make: Callable[..., Machine], log: Log, keep: bool) -> bool:
    """Runs a scenario on machines of its own, and says whether all holds."""
    folder = Path(tempfile.mkdtemp(prefix=f"{script.stem}."))
    hub = Hub()
    machines = {name: make(name, number, folder / name, hub, log) for number, name in enumerate(NODES, 1)}

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
        log(why)
        return False
    finally:
        for machine in machines.values():
            machine.crash() if keep else machine.remove()
        if not keep:
            folder.rmdir()
