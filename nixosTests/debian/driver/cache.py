"""What takes long and changes seldom, kept outside the checkout: the kernel, the disk, the provisioned disk."""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "compliance-appliance"


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
    return sha256.hexdigest()[:12]


def kept(folder: Path, name: str, of: Iterable[Path | str], make: Callable[[Path], None]) -> Path:
    """The file of that name made from `of`; made now, by one process at a time, if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{digest(of)}"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for older in folder.glob(f"{name}-*"):
                older.unlink()
            new = folder / f"{name}.new"
            make(new)
            new.rename(path)
    return path


def by_script(script: str) -> Callable[[Path], None]:
    """Makes a file by a script of this folder that is told where."""

    def make(path: Path) -> None:
        subprocess.run([HERE / script, path], check=True, stdin=subprocess.DEVNULL)

    return make


def kernel() -> Path:
    """User-mode Linux."""
    return kept(FOLDER, "kernel", [HERE / "kernel.sh", HERE / "kernel.config"], by_script("kernel.sh"))


def disk() -> Path:
    """A machine's disk, without any system of ours."""
    return kept(FOLDER, "disk", [HERE / "image.sh", HERE / "image", HERE / "masked"], by_script("image.sh"))
