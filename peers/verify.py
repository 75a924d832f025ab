#!/usr/bin/env python3
"""Has evidence verified by tools that nobody here wrote.

    python3 -m venv V && V/bin/pip install -r peers/requirements.txt
    V/bin/python peers/verify.py DIR

DIR is an export: of `compliance-executor export` or `compliancectl evidence export`. Each bundle is given
to openssl, trestle, securesystemslib and proofbundle, which must accept it; then a copy with one changed
value, under the same file name in another folder, which each must refuse for the right reason: the digest
or the signature, never the name. A bundle without a receipt yet has nothing for proofbundle.

Exit code 0: every answer was right; 1: one was not, or there was nothing to ask about; 2: a tool or a file
is missing.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, NamedTuple

TOOLS = Path(sys.executable).parent


class Bundle(NamedTuple):
    """The files of one bundle, wherever they are."""

    json: Path
    signature: Path
    envelope: Path
    receipt: Path

    @staticmethod
    def at(path: Path) -> "Bundle":
        stem = path.name.removesuffix(".json")
        return Bundle(path, *(path.with_name(stem + end) for end in (".json.sig", ".dsse.json", ".tlog-proof")))

    def copied_to(self, folder: Path) -> "Bundle":
        folder.mkdir()
        for file in filter(Path.exists, self):
            shutil.copyfile(file, folder / file.name)
        return Bundle.at(folder / self.json.name)


class Keys(NamedTuple):
    """The two key files at the top of an export."""

    evidence: Path
    log: str


class Answer(NamedTuple):
    accepted: bool
    said: str


def run(*argv: object) -> Answer:
    argv = [str(arg) for arg in argv]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return Answer(done.returncode == 0, done.stdout + done.stderr)


def openssl(bundle: Bundle, keys: Keys) -> Answer:
    return run("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys.evidence,
               "-rawin", "-in", bundle.json, "-sigfile", bundle.signature)


def trestle(bundle: Bundle, keys: Keys) -> Answer:
    return run(TOOLS / "trestle", "verify", "--beta", "-f", bundle.json,
               "--signature", bundle.envelope, "--public-key", keys.evidence)


def proofbundle(bundle: Bundle, keys: Keys) -> Answer:
    return run(TOOLS / "proofbundle", "verify-proof", bundle.receipt, "--payload-file", bundle.json,
               "--log-vkey", keys.log, "--expected-origin", keys.log.split("+", 1)[0])


def securesystemslib(bundle: Bundle, keys: Keys) -> Answer:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    key = SSlibKey.from_crypto(load_pem_public_key(keys.evidence.read_bytes()))
    try:
        Envelope.from_dict(json.loads(bundle.envelope.read_text())).verify([key], 1)
    except VerificationError as error:
        return Answer(False, f"VerificationError: {error}")
    return Answer(True, "")


def one_more(name: str, text: str) -> str:
    """The text of canonical JSON in which the number `name` is one more."""
    text, count = re.subn(rf'"{name}":(\d+)', lambda found: f'"{name}":{int(found[1]) + 1}', text, count=1)
    if count != 1:
        sys.exit(f"there is no number {name!r} to change in: {text[:200]}")
    return text


def change_bundle(bundle: Bundle) -> None:
    bundle.json.write_text(one_more("duration_ms", bundle.json.read_text("utf-8")), "utf-8")


def change_statement(bundle: Bundle) -> None:
    envelope = json.loads(bundle.envelope.read_text())
    statement = base64.b64decode(envelope["payload"]).decode()
    envelope["payload"] = base64.b64encode(one_more("sequence", statement).encode()).decode()
    bundle.envelope.write_text(json.dumps(envelope))


class Peer(NamedTuple):
    """Whom to ask, what to change in what it looks at, and what it then says for the right reason."""

    ask: Callable[[Bundle, Keys], Answer]
    change: Callable[[Bundle], None]
    refusal: str

    def wrong(self, bundle: Bundle, keys: Keys) -> str | None:
        """What was wrong with its two answers about a bundle."""
        good = self.ask(bundle, keys)
        if not good.accepted:
            return f"refused the good one: {good.said.strip()}"
        with tempfile.TemporaryDirectory() as folder:
            copy = bundle.copied_to(Path(folder, "changed"))
            self.change(copy)
            bad = self.ask(copy, keys)
        if bad.accepted:
            return "accepted a changed one"
        if self.refusal not in bad.said:
            return f"refused the changed one for another reason than {self.refusal!r}: {bad.said.strip()}"
        return None


PEERS = [
    Peer(openssl, change_bundle, "Signature Verification Failure"),
    Peer(trestle, change_bundle, "digest does not match"),
    Peer(securesystemslib, change_statement, "VerificationError"),
    Peer(proofbundle, change_bundle, "[FAIL] merkle-inclusion"),
]


def missing_tools() -> list[str]:
    missing = [] if shutil.which("openssl") else ["openssl (apt install openssl)"]
    missing += [tool for tool in ("trestle", "proofbundle") if not (TOOLS / tool).exists()]
    try:
        import securesystemslib.dsse  # noqa: F401
    except ImportError:
        missing.append("securesystemslib")
    return missing


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: verify.py DIR   (an exported directory of evidence)", file=sys.stderr)
        return 2
    top = Path(sys.argv[1])
    keys_at = [top / "evidence.pub", top / "checkpoint.vkey"]
    missing = missing_tools() + [str(path) for path in keys_at if not path.is_file()]
    if missing:
        print(f"missing: {', '.join(missing)}; pip install -r peers/requirements.txt", file=sys.stderr)
        return 2
    keys = Keys(keys_at[0], keys_at[1].read_text().strip())
    bundles = [Bundle.at(path) for path in sorted(top.glob("*/*/*/*.json")) if not path.name.endswith(".dsse.json")]

    right, wrong = {peer.ask.__name__: 0 for peer in PEERS}, []
    with ThreadPoolExecutor() as pool:
        for peer in PEERS:
            asked = [b for b in bundles if peer.ask is not proofbundle or b.receipt.exists()]
            for bundle, fault in zip(asked, pool.map(lambda b: peer.wrong(b, keys), asked)):
                if fault:
                    wrong.append(f"{peer.ask.__name__}: {bundle.json.name}: {fault}")
                else:
                    right[peer.ask.__name__] += 1

    print(f"{len(bundles)} bundles in {top}")
    print(f"{'peer':<18} {'accepts good, refuses changed':>30}")
    for name, count in right.items():
        print(f"{name:<18} {count:>30}")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong or not all(right.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
