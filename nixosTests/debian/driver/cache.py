"""What takes long and changes seldom, kept outside the checkout: the kernel, the disk, the provisioned disk."""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compliance-appliance"

# Of a digest in a file's name.
DIGITS = 12


def digest(things: Iterable[Path | str]) -> str:
    """Names the contents of files and folders, and words."""
    sha256 = hashlib.sha256()
    for path in things:
        if isinstance(path, str):
            sha256.update(path.encode() + b"\0")
            continue
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            sha256.update(str(file.relative_to(path.parent)).encode() + b"\0")
            if file.is_symlink():
                sha256.update(os.readlink(file).encode())
            elif file.is_file():
                sha256.update(file.read_bytes())
    return sha256.hexdigest()[:DIGITS]


def kept(folder: Path, name: str, of: Iterable[Path | str], make: Callable[[Path], None]) -> Path:
    """The file of that name made from `of`; made now, by one process at a time, if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{digest(of)}"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for older in folder.glob(f"{name}-{'[0-9a-f]' * DIGITS}"):
                older.unlink()
            new = folder / f"{name}.new"
            make(new)
            new.rename(path)
    return path


def by_script(*command: str) -> Callable[[Path], None]:
    """Makes a file by a script of this folder that is told where, and then the rest of the command."""
    script, *rest = command

    def make(path: Path) -> None:
        subprocess.run([HERE / script, path, *rest], check=True, stdin=subprocess.DEVNULL)

    return make


def kernel() -> Path:
    """User-mode Linux."""
    return kept(FOLDER, "kernel", [HERE / "kernel.sh", HERE / "kernel.config"], by_script("kernel.sh"))


def disk(*packages: str) -> Path:
    """A machine's disk, without any system of ours, and with these packages."""
    of = [HERE / "image.sh", HERE / "image", HERE / "masked", *packages]
    return kept(FOLDER, "-".join(["disk", *packages]), of, by_script("image.sh", *packages))


def kernel_of(disk: Path) -> Path:
    """The kernel that a disk has, as a file of its own."""

    def make(path: Path) -> None:
        subprocess.run(["debugfs", "-R", f"dump /vmlinuz {path}", disk], check=True, stderr=subprocess.DEVNULL)

    return kept(FOLDER, "vmlinuz", [disk.name], make)
