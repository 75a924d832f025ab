"""Plays every scenario of a running demonstration: story.py COMPOSE…, as demo/test calls it."""

import asyncio
import http.client
import http.cookiejar
import json
import os
import pathlib
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter

import nats

COMPOSE = sys.argv[1:]
PROJECT = os.environ["COMPOSE_PROJECT_NAME"]
BASE = f"http://localhost:{os.environ['DEMO_PORT']}"
BANNER = "DEV ONLY - NOT FOR PRODUCTION"
CONTROL_PLANE = f"{os.environ['DEMO_NET']}.10"

# How long anything may take that is not a scenario: a scenario has a limit of its own.
SOON = 90

# How long the page breaks something here; a person may take five minutes. A poll that was under way when the cable was
# pulled gives up after half a minute.
CUT, BROKEN = "60", "20"

SITES = {
    "site-a": dict.fromkeys(("patching", "services", "backups", "firewall", "logging"), "compliant") | {"encryption": "not_applicable"},
    "site-b": dict.fromkeys(("services", "backups", "firewall", "logging"), "compliant") | dict.fromkeys(("patching", "encryption"), "unknown"),
}


def run(*command: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def within(service: str, *command: str) -> str:
    """What a command prints in a service's container."""
    return run(*COMPOSE, "exec", "-T", service, *command)


def ctl(*command: str):
    """What compliancectl says, as an operator."""
    return json.loads(within("mcp", "compliancectl", "--json", *command))


def wait_for(what: str, look, timeout: float = SOON):
    """Looks until there is something to see."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        seen = look()
        if seen:
            return seen
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {timeout} s")


class Browser:
    """What a browser does, by the same requests."""

    def __init__(self) -> None:
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(cookies)

    def get(self, path: str, form: dict[str, str] | None = None) -> tuple[str, str]:
        """Where that led, and the page."""
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        with self.opener.open(BASE + path if path.startswith("/") else path, data, timeout=30) as answer:
            page = answer.read().decode()
            assert BANNER in page, f"{path} does not say that it is a demonstration"
            return answer.geturl(), page

    def log_in(self) -> None:
        """By a one-time link."""
        self.get(ctl("console")["url"])

    def play(self, scenario: str, seconds: str | None = None) -> None:
        """Starts a scenario as its button does, and watches its page to its end."""
        began = time.monotonic()
        _, page = self.get("/scenarios")
        form = {"csrf": found(r'name="csrf" value="([0-9a-f]+)"', page)} | ({"seconds": seconds} if seconds else {})
        url, _ = self.get(f"/scenarios/{scenario}", form)

        def ended():
            _, page = self.get(url)
            state = found(r'data-state="([a-z-]+)"', page)
            return page if state != "playing" else None

        page = wait_for(f"the end of {scenario}", ended, 300)
        told = re.sub(r"<[^>]+>|\s+", " ", page)
        assert 'data-state="as-expected"' in page, f"{scenario} did not go as expected: {told}"
        assert "openssl pkeyutl -verify" in page, f"{scenario} does not end with a line for openssl"
        print(f"{scenario:<14} {time.monotonic() - began:5.0f} s  as expected", flush=True)


def found(pattern: str, text: str) -> str:
    """The one group of the pattern's first place."""
    match = re.search(pattern, text)
    assert match, f"{pattern} is not in {text[:2000]}"
    return match[1]


def states() -> dict[str, dict[str, str]]:
    """Of each site the six states."""
    sites = ctl("sites")["sites"]
    return {site["site"]: {check: state["state"] for check, state in site["states"].items()} for site in sites}


def all_as_said() -> bool:
    """The sites are as they are in the beginning, and told so."""
    return states() == SITES


def network(verb: str, *options: str) -> None:
    """Puts the control plane on the demonstration's network, or takes it off."""
    run("docker", "network", verb, *options, f"{PROJECT}_demo", run(*COMPOSE, "ps", "-q", "mcp").strip())


def evidence() -> list[dict]:
    """All evidence that the control plane holds."""
    return [one for site in SITES for one in ctl("evidence", "list", "--site", site)]


def last_poll() -> str:
    """When site-b was last heard of."""
    return next(site["last_seen"] or "" for site in ctl("sites")["sites"] if site["site"] == "site-b")


def cut_off() -> None:
    """The network between the sites and the control plane goes and comes back; nothing is lost, and all of it arrives."""
    network("disconnect")
    within("site-b", "systemctl", "stop", "front-desk.service")
    wait_for("site-b to queue evidence", lambda: pending("site-b") > 1)
    network("connect", "--ip", CONTROL_PLANE, "--alias", "mcp")
    wait_for("site-b to be rid of it", lambda: pending("site-b") == 0)
    healed = [one for one in ctl("evidence", "list", "--site", "site-b") if one["check"] == "services" and one["reason"] == "done"]
    assert healed, "site-b did not heal while it was cut off"


def pending(site: str) -> int:
    """How much evidence waits at a site."""
    told = within(site, "sh", "-c", "/usr/local/lib/demo/hands/status")
    return json.loads(told)["executor"]["status"]["pending_bundles"]


def broker(name: str) -> str:
    """A file that the control plane made for NATS and its carrier."""
    return within("mcp", "cat", f"/var/lib/broker/{name}")


def happened() -> list[tuple[str, str]]:
    """The subject and the id of each event that the control plane has for a carrier, asked with the carrier's certificate."""
    tls = ssl.create_default_context(cadata=broker("ca.pem"))
    with tempfile.NamedTemporaryFile("w") as pem:
        pem.write(broker("carrier.key") + broker("carrier.pem"))
        pem.flush()
        tls.load_cert_chain(pem.name)
    connection = http.client.HTTPConnection("mcp", 8444, timeout=30)
    connection.sock = tls.wrap_socket(socket.create_connection((CONTROL_PLANE, 8444), timeout=30), server_hostname="mcp")
    events = []
    while True:
        connection.request("GET", f"/api/v1/events?after={events[-1]['event'] if events else 0}")
        answer = connection.getresponse()
        page = json.loads(answer.read())
        assert answer.status == 200, page
        if not page["events"]:
            connection.close()
            return [(f"compliance.{one['tenant']}.{one['site']}.{one['kind']}", one["message_id"]) for one in events]
        events += page["events"]


async def stored() -> list[tuple[str, str]]:
    """The subject and the id of each message in JetStream."""
    tls = ssl.create_default_context(cadata=broker("ca.pem"))
    server = run("docker", "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", run(*COMPOSE, "ps", "-q", "nats").strip())
    token = broker("token")
    client = await nats.connect(f"tls://{server.strip()}:4222", tls=tls, tls_hostname="nats", token=token)
    stream = client.jetstream()
    count = (await stream.stream_info("COMPLIANCE")).state.messages
    subscription = await stream.subscribe("compliance.>", stream="COMPLIANCE", ordered_consumer=True)
    messages = [await subscription.next_msg(timeout=10) for _ in range(count)]
    await client.close()
    return [(one.subject, one.headers["Nats-Msg-Id"]) for one in messages]


def each_event_once() -> None:
    """JetStream holds every event of the control plane exactly once, and nothing else."""
    bundles = {(f"compliance.acme.{one['site']}.evidence", one["sha256"]) for one in evidence()}

    def carried():
        before, messages = set(happened()), asyncio.run(stored())
        return messages if before <= set(messages) else None

    messages = wait_for("every event to be in JetStream", carried)
    assert bundles <= set(messages), f"of these bundles there was no event: {bundles - set(messages)}"
    twice = [message for message, count in Counter(messages).items() if count > 1]
    assert not twice, f"JetStream holds these more than once: {twice}"
    # What came into being meanwhile is an event as well.
    others = set(messages) - set(happened())
    assert not others, f"JetStream holds what is no event: {others}"
    kinds = Counter(subject.split(".")[-1] for subject, _ in messages)
    assert all(kinds[kind] for kind in ("evidence", "alert", "order")), kinds
    tickets = run(*COMPOSE, "logs", "--no-color", "tickets")
    assert "connectivity_lost" in tickets, f"no ticket tells of the lost connection:\n{tickets}"
    print(f"JetStream holds every event of the control plane, each once: {dict(kinds)}", flush=True)


def proof() -> None:
    """All evidence of both sites verifies, to its newest bundle, and openssl says so of each file."""
    for site in SITES:
        heads = {}
        for one in ctl("evidence", "list", "--site", site):
            chain = (one["epoch"], one["ledger_id"])
            heads[chain] = max(heads.get(chain, (0, "")), (one["sequence"], one["sha256"]))
        demanded = [part for sequence, sha256 in heads.values() for part in ("--head", f"{sequence}:{sha256}")]
        folder = f"/tmp/export-{site}"
        within("mcp", "compliancectl", "evidence", "export", folder, "--site", site)
        epoch = max(epoch for epoch, _ in heads)
        within("mcp", "compliancectl", "verify", folder, "--trust", f"sites/{site}/{epoch}/trust.dsse.json", *demanded)
        count = within(
            "mcp", "sh", "-euc",
            f"cd {folder}; n=0; for bundle in */*/*/*.json; do case $bundle in *.dsse.json) continue ;; esac;"
            " openssl pkeyutl -verify -pubin -inkey evidence.pub -rawin -in $bundle -sigfile $bundle.sig >/dev/null;"
            " n=$((n + 1)); done; [ $n -gt 0 ]; echo $n",
        )
        print(f"{site}: {count.strip()} bundles verified, by compliancectl and by openssl", flush=True)


def in_a_browser() -> None:
    """The same pages, as somebody sees them."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        print("skipped: no Chromium with its chromedriver, so nobody looks at the pages", flush=True)
        return
    script = pathlib.Path(__file__).with_name("browser.py")
    subprocess.run([sys.executable, "-B", script, BASE, ctl("console")["code"], os.environ["DEMO_PICTURES"]], check=True)


def main() -> None:
    wait_for("the console", reachable)
    wait_for("both sites", all_as_said)
    in_a_browser()
    browser = Browser()
    browser.log_in()
    for site in SITES:
        browser.get(f"/sites/{site}")
    # NATS is down while the first of these play.
    run(*COMPOSE, "stop", "--timeout", "5", "nats")
    for scenario in ("stop-service", "firewall", "stale-backup", "forged"):
        browser.play(scenario)
    run(*COMPOSE, "start", "nats")
    for scenario in ("expired", "replayed", "window", "stop-imaging", "now"):
        browser.play(scenario)
    run(*COMPOSE, "kill", "nats")
    run(*COMPOSE, "start", "nats")
    browser.play("network", CUT)
    browser.play("dns", BROKEN)
    for scenario in ("update", "bad-update", "update", "journal"):
        browser.play(scenario)
    cut_off()
    wait_for("both sites to be as in the beginning", all_as_said)
    each_event_once()
    proof()


def reachable() -> bool:
    """Whether anything answers where browsers come in."""
    try:
        urllib.request.urlopen(BASE, timeout=5)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


main()
