"""Runs scenarios on Debian machines."""

import argparse
import functools
import multiprocessing
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cache
import provision
import scenario
from machine import Machine
from qemu import Qemu, QemuMachine
from uml import UserModeLinux, UserModeMachine

SCENARIOS = cache.HERE.parent / "scenarios"
AT_ONCE = 2

# These begin first, so that they do not end last.
LONGEST = ("endurance", "power", "deadman")

# How much of a failed scenario's log is shown.
TAIL = 60


def machines(given: argparse.Namespace) -> Callable[..., Machine]:
    """Makes machines of the backend, whose disk has the programs and the systems."""
    if given.backend == "uml":
        kernel, disk = cache.kernel(), cache.disk()
        make, made = UserModeMachine, UserModeLinux
    else:
        disk = cache.disk("linux-image-cloud-amd64")
        kernel = cache.kernel_of(disk)
        make, made = QemuMachine, Qemu
    hosts = scenario.hosts()

    def provision_onto(path: Path) -> None:
        provision.provision(functools.partial(make, made(kernel, path, hosts, shared=True)), disk, path, given)

    given.programs = provision.programs_of(given.programs, given.work / "programs")
    of = [kernel.name, disk.name, given.programs, provision.SYSTEMS, *provision.MODULES]
    provisioned = cache.kept(given.work, given.backend, of, provision_onto)
    return functools.partial(make, made(kernel, provisioned, hosts))


def run(script: Path, make: Callable[..., Machine], given: argparse.Namespace) -> str:
    """Runs one scenario, in a process of its own; prints what became of it, and gives that as one word."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    path = given.work / f"{script.stem}.log"
    began = time.monotonic()
    why = scenario.impossible(script, given.backend)
    if why:
        ended = "skipped"
    else:
        ended = "passed" if scenario.run(script, make, scenario.Log(path), given.keep) else "failed"
    said = [f"{script.stem:<20} {time.monotonic() - began:5.0f} s  {ended}{why and f': {why}'}"]
    if ended == "failed":
        said += [f"    {line}" for line in path.read_text().splitlines()[-TAIL:]]
    print("\n".join(said), flush=True)
    return ended


def main() -> int:
    parser = argparse.ArgumentParser(prog="driver", description=__doc__)
    parser.add_argument("--programs", type=Path, required=True, help="folder with the four programs, such as target/release")
    parser.add_argument("--work", type=Path, required=True, help="folder for a provisioned disk, and a log of each scenario")
    parser.add_argument("--backend", choices=["uml", "qemu"], default="uml")
    parser.add_argument("--keep", action="store_true", help="keep what the machines were made of")
    parser.add_argument("scenario", nargs="*", help="all unless some are named")
    given = parser.parse_args()
    scripts = [SCENARIOS / f"{name}.py" for name in given.scenario] or sorted(
        SCENARIOS.glob("*.py"), key=lambda path: (path.stem not in LONGEST, path.stem)
    )
    make = machines(given)
    with multiprocessing.Pool(AT_ONCE, maxtasksperchild=1) as pool:
        one = functools.partial(run, make=make, given=given)
        ends = Counter(pool.imap_unordered(one, scripts))
    print(", ".join(f"{ends[end]} {end}" for end in ("passed", "failed", "skipped")))
    return 1 if ends["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
