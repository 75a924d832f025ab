# What every scenario begins with: two machines, `box` and `mcp`, from two that know nothing of each other to an
# appliance that polls its control plane and is as its baseline says. It is put before the scenario, so the names
# below are the scenario's, as are those of the test driver.

import base64
import hashlib
import json
import re
import time

TENANT = "acme"
SITE = "clinic-042"
ORIGIN = "mcp/acme"

# The operator's folder on the control plane's machine, with all keys: they are this scenario's alone.
OPERATOR = "/root/operator"
PLANE = "/var/lib/plane"

# The appliance's files.
BOX = "/var/lib/compliance"
CONFIG = "/etc/compliance/executor.toml"

# When the scenario began, and the six o'clock that its machines take that for: the window is then open.
BEGAN = int(time.time())
AT_SIX = (BEGAN // 86400 + 1) * 86400 + 6 * 3600

# The longest that anything here may take, but for a dead-man.
SOON = 60

BASELINE = """
[patching]

[[services.units]]
unit = "scenario.service"

[[backups.jobs]]
name = "records"
status_file = "/var/backup/records.json"
run = { unit = "backup-records.service" }

[logging]
clock_synchronised = false
canary_limit_s = 2

[encryption]
not_applicable = "this scenario is about something else"
"""


def ctl(command):
    """What compliancectl prints, on the operator's machine."""
    return mcp.succeed(f"cd {OPERATOR} && compliancectl {command}")


def ctl_json(command):
    """The same, of a command that prints JSON."""
    return json.loads(ctl(f"--json {command}"))


def carry(source, path, target, to):
    """Copies a file from a machine to another one."""
    text = source.succeed(f"base64 -w 0 {path}")
    target.succeed(f"mkdir -p $(dirname {to}) && base64 -d >{to} <<<'{text}'")


def wait_for(what, look, timeout=SOON):
    """Looks until there is something to see."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.3)
    raise AssertionError(f"{what} did not happen within {timeout} s")


def make_control_plane():
    """Keys, an authority, and the server."""
    mcp.succeed(f"mkdir -p {OPERATOR}/keys")
    for role in ("root", "orders", "baseline"):
        ctl(f"key generate --role {role} --out keys")
    mcp.succeed(
        f"compliance-mcp init --dir {PLANE} --tenant {TENANT} --name mcp --name localhost"
        f" --root-pub {OPERATOR}/keys/root.pub",
        f"chmod 755 {PLANE} {PLANE}/tls",
        f"mv {PLANE}/offline {OPERATOR}/offline && cp {PLANE}/keys/*.pub {OPERATOR}/keys/",
        f"cat >{OPERATOR}/compliancectl.toml <<'END'\n"
        'mcp = "https://localhost:8444"\n'
        'ca = "offline/ca.pem"\n'
        'cert = "offline/operator-admin.pem"\n'
        'key = "offline/operator-admin.key"\n'
        "END",
    )
    serve()


def serve():
    """Starts the server with the root key of this scenario, also after a restart of its machine."""
    mcp.succeed(
        f"root=$(sed -n 's/^keys = \\[\"\\(.*\\)\"\\]/\\1/p' {PLANE}/mcp.toml)"
        " && sed \"s/0\\{64\\}/$root/\" /etc/compliance/mcp.toml >/run/mcp.toml",
        "mount --bind /run/mcp.toml /etc/compliance/mcp.toml",
        "systemctl restart compliance-mcp.service",
    )
    mcp.wait_for_unit("compliance-mcp.service")


def enrol():
    """The appliance's keys, made there; its certificate and trust file, made here."""
    box.succeed(f"compliance-executor enrol --config {CONFIG}")
    for name in ("tls.csr", "evidence.pub"):
        carry(box, f"{BOX}/{name}", mcp, f"{OPERATOR}/{name}")
    trust_file(SITE, "keys", SITE)
    ctl(f"site register {SITE} --trust {SITE}/trust.dsse.json")
    for name in ("tls.pem", "ca.pem", "trust.dsse.json"):
        carry(mcp, f"{OPERATOR}/{SITE}/{name}", box, f"{BOX}/{name}")


def trust_file(site, keys, out):
    """A certificate, and a trust file that names these keys."""
    ctl(
        f"site add {site} --tenant {TENANT} --csr tls.csr --evidence-pub evidence.pub --authority offline"
        f" --root-key keys/root.key --keys {keys} --log-origin {ORIGIN} --out {out}"
    )


def sha256_of(payload):
    """The digest of an envelope's payload."""
    return hashlib.sha256(base64.b64decode(payload)).hexdigest()


def captured_firewall():
    """The section that `capture` gives of the ruleset in force."""
    captured = box.succeed(f"compliance-executor capture --config {CONFIG}")
    lines = iter(captured.splitlines())
    section, inside = [], False
    for line in lines:
        if line.startswith("["):
            inside = line.startswith("[firewall")
        if inside:
            section.append(line)
    return "\n".join(section)


def sign_baseline(sections, system="/run/current-system", version=1):
    """A signed baseline for a system of the box; the digest of its payload."""
    path = box.succeed(f"readlink -f {system}").strip()
    text = f'version = {version}\ntenant = "{TENANT}"\nsite = "{SITE}"\n[bound_to]\nsystem = "{path}"\n{sections}'
    mcp.succeed(f"cat >{OPERATOR}/baseline.toml <<'END'\n{text}\nEND")
    ctl("baseline sign baseline.toml --key keys/baseline.key --out baseline.dsse.json")
    envelope = json.loads(mcp.succeed(f"cat {OPERATOR}/baseline.dsse.json"))
    return sha256_of(envelope["payload"])


def boot(machine):
    """Starts a machine, also after its end; its clock says that the scenario began at six the next morning."""
    machine.start()
    machine.wait_for_unit("multi-user.target")
    machine.succeed(f"date --set=@{AT_SIX + int(time.time()) - BEGAN}")


def set_up(baseline=BASELINE):
    """Everything, until the first verified answer of the control plane."""
    for machine in (box, mcp):
        boot(machine)
    box.succeed("systemctl start backup-records.service")
    make_control_plane()
    enrol()
    global sections
    sections = f"{baseline}\n{captured_firewall()}"
    sign_baseline(sections)
    carry(mcp, f"{OPERATOR}/baseline.dsse.json", box, f"{BOX}/baseline.dsse.json")
    box.succeed("systemctl start compliance-executor.service compliance-agent.service")
    # A power cut is to take nothing of this away.
    for machine in (box, mcp):
        machine.succeed("sync")
    wait_for("the first poll", lambda: status()["last_head_at"])
    wait_for("six verdicts", lambda: len(states()) == 6 and "unknown" not in states().values())


def agent(command):
    """A command line of the agent's, with its configuration."""
    return f"compliance-agent {command} --config /etc/compliance/agent.toml"


def status():
    """What the executor said of itself when the agent last asked; nothing yet is an empty answer."""
    code, told = box.execute(agent("status --json"))
    report = json.loads(told) if told.strip() else {}
    return (report.get("executor") or {}).get("status") or {"checks": [], "last_head_at": None, "pending_bundles": -1}


def states():
    """The six states."""
    return {check["check"]: check["state"] for check in status()["checks"]}


def process(unit):
    """The process of a service on the box; 0 is none."""
    return box.get_unit_property(f"{unit}.service", "MainPID")


def kill(unit):
    """Kills a service on the box; gives the process that it was."""
    was = process(unit)
    box.succeed(f"kill -KILL {was}")
    return was


def await_restart(unit, was):
    """Waits until a service that was killed runs again."""
    wait_for(f"a restart of {unit}", lambda: process(unit) not in ("0", was))


def listed():
    """The evidence that the control plane holds, oldest first, without what is in it; of orders with their places."""
    places = {one["id"]: one["sequence"] for one in ctl_json(f"order list --site {SITE}")["orders"]}
    return [one | {"order_sequence": places.get(one["order_id"])} for one in ctl_json(f"evidence list --site {SITE}")]


def bundle(summary):
    """One bundle as it was signed."""
    return ctl_json(f"evidence show {SITE} {summary['sequence']} --ledger {summary['ledger_id']}")["bundle"]


def await_evidence(what, like, after=0, timeout=SOON):
    """The first bundle like that which reaches the control plane."""

    def look():
        found = [one for one in listed() if one["sequence"] > after and like(one)]
        return found and bundle(found[0])

    return wait_for(what, look, timeout)


def order(action, options=""):
    """Signs an order and pushes it; gives its sequence."""
    mcp.succeed(f"rm -f {OPERATOR}/order.json")
    ctl(f"order sign --key keys/orders.key --site {SITE} --out order.json {options} {action}")
    return ctl_json("order push order.json")[0]["sequence"]


def end_of(sequence, timeout=SOON):
    """The one terminal bundle of an order."""
    return await_evidence(
        f"the end of order {sequence}",
        lambda one: one["order_sequence"] == sequence and one["outcome"] != "deferred",
        timeout=timeout,
    )


def outcome(told):
    """How it ended, and why."""
    return f"{told['outcome']}: {told['reason']}"


def expect(told, wanted):
    """Demands how a bundle ended."""
    assert outcome(told) == wanted, f"{outcome(told)}, and not {wanted}: {json.dumps(told, indent=1)}"


def newest():
    """The sequence of the newest bundle that the control plane holds."""
    return max((one["sequence"] for one in listed()), default=0)


def prove():
    """All evidence is at the control plane, receipted, whole to its end, and openssl says so of each bundle."""
    wait_for("a receipt for every bundle", lambda: status()["pending_bundles"] == 0)
    heads = {}
    for one in listed():
        chain = (one["epoch"], one["ledger_id"])
        heads[chain] = max(heads.get(chain, (0, "")), (one["sequence"], one["sha256"]))
    # After the list, so that it holds what is demanded, and perhaps what has arrived since.
    folder = f"export-{time.monotonic_ns()}"
    ctl(f"evidence export {folder} --site {SITE}")
    demanded = " ".join(f"--head {sequence}:{sha256}" for sequence, sha256 in heads.values())
    ctl(f"verify {folder} --trust {SITE}/trust.dsse.json {demanded}")
    mcp.succeed(
        f"cd {OPERATOR}/{folder} && n=0 && for bundle in */*/*/*.json; do"
        " case $bundle in *.dsse.json) continue ;; esac;"
        " openssl pkeyutl -verify -pubin -inkey evidence.pub -rawin -in $bundle -sigfile $bundle.sig >/dev/null;"
        " n=$((n + 1)); done && [ $n -gt 0 ]"
    )
    for sequence, outcomes in terminal_outcomes().items():
        assert len(outcomes) == 1, f"order {sequence} ended {len(outcomes)} times: {outcomes}"


def terminal_outcomes():
    """How each order ended; more than one outcome of any is wrong."""
    ends = {}
    for one in listed():
        if one["order_sequence"] is not None and one["outcome"] not in ("deferred", "alert"):
            ends.setdefault(one["order_sequence"], []).append(one["outcome"])
    return ends


def path_of(system):
    """The store path of a system that the box has and that does not run yet."""
    return box.succeed(f"readlink -f /etc/scenarios/systems/{system}").strip()


def nar_hash(path):
    """As the order names it."""
    return "sha256-" + box.succeed(f"nix-store --dump {path} | openssl dgst -sha256 -binary | base64").strip()


def bring_baseline(system, version):
    """Sends the baseline that belongs to a system to come; the digest that the order for it names."""
    sha256 = sign_baseline(sections, path_of(system), version)
    expect(end_of(order("update-baseline baseline.dsse.json")), "success: baseline_kept")
    return sha256


def activate(system, version):
    """Brings a system's baseline, and orders that it is activated; gives the order's sequence."""
    return order_system(path_of(system), nar_hash(path_of(system)), bring_baseline(system, version))


def order_system(path, nar, sha256):
    """Orders that a system is activated whose baseline is here, with time for the dead-man."""
    return order(f"activate-system {path} --nar-hash {nar} --baseline-sha256 {sha256}", "--max-runtime 2h")


def running():
    """What runs, and what the profile names."""
    links = "/run/current-system /nix/var/nix/profiles/system"
    return tuple(box.succeed(f"readlink -f {links}").split())


def booted():
    """What the boot loader started."""
    return box.succeed("readlink -f /run/booted-system").strip()


def deadmen():
    """The dead-men that are about."""
    return box.succeed("systemctl list-units --all --plain --no-legend 'compliance-deadman-*'").strip()
