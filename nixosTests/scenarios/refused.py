# Scenarios 1, 2 and 6: orders that are forged, late, brought again, meant for another site, or missing. The control
# plane's own database is tampered with, since the honest server takes none of these: an owned control plane can
# hand out what it likes, and the appliance still judges the signed bytes.

set_up()


def tampered(sequence, envelope):
    """The control plane hands out these bytes in place of that order's."""
    payload = json.loads(mcp.succeed(f"cat {OPERATOR}/{envelope}"))["payload"]
    sha256 = sha256_of(payload)
    mcp.succeed(
        f"sqlite3 -cmd '.timeout 5000' /var/lib/compliance-mcp/mcp.sqlite \"UPDATE orders SET envelope = readfile('{OPERATOR}/{envelope}'),"
        f" payload_sha256 = x'{sha256}' WHERE sequence = {sequence}\""
    )
    return sha256


with subtest("An honest order is carried out"):
    expect(end_of(order("run-checks")), "success: checked")

with subtest("1: a forged order is rejected, and leaves evidence"):
    box.succeed("systemctl stop compliance-agent.service")
    # compliancectl signs with no key that the trust file does not name, so the forger has a trust file too.
    mcp.succeed(f"mkdir {OPERATOR}/forger && cp {OPERATOR}/keys/*.pub {OPERATOR}/forger/")
    ctl("key generate --role orders --name forger --out forger")
    mcp.succeed(f"mv {OPERATOR}/forger/forger.pub {OPERATOR}/forger/orders.pub")
    trust_file(SITE, "forger", "forged")
    next_one = json.loads(ctl(f"--json order list --site {SITE}"))["orders"][-1]
    previous = ctl_json(f"order show {SITE} {next_one['sequence']}")["envelope"]["payload"]
    ctl(
        f"order sign --key forger/forger.key --site {SITE} --trust forged/trust.dsse.json --out forged.json"
        f" --sequence {next_one['sequence'] + 1} --previous {sha256_of(previous)} run-backup records"
    )
    mcp.fail(f"cd {OPERATOR} && compliancectl order push forged.json")
    held = order("run-checks")
    sha256 = tampered(held, "forged.json")
    before = box.succeed("cat /var/backup/records.json")
    box.succeed("systemctl start compliance-agent.service")
    refusal = await_evidence("a refusal", lambda one: one["outcome"] == "rejected")
    expect(refusal, "rejected: bad_signature")
    assert refusal["trigger"]["order_id"] is None, refusal
    assert refusal["actions"] == [], refusal
    assert box.succeed("cat /var/backup/records.json") == before, "the forged order ran"
    # Until then none after it is taken: the head lists an order that never comes.
    ctl(f"order withdraw {SITE} {held}")

with subtest("2: an order that comes too late ends as expired"):
    box.succeed("systemctl stop compliance-agent.service")
    late = order("run-backup records", "--ttl 1s")
    before = box.succeed("cat /var/backup/records.json")
    mcp.succeed("sleep 2")
    box.succeed("systemctl start compliance-agent.service")
    expect(end_of(late), "expired: expired")
    assert box.succeed("cat /var/backup/records.json") == before, "the expired order ran"

with subtest("6: an order that never came is missed"):
    box.succeed("systemctl stop compliance-agent.service")
    since = newest()
    withheld = order("run-backup records")
    mcp.succeed(f"cp {OPERATOR}/order.json {OPERATOR}/withheld.json")
    ctl(f"order withdraw {SITE} {withheld}")
    after = order("run-checks")
    box.succeed("systemctl start compliance-agent.service")
    expect(end_of(after), "success: checked")
    gap = await_evidence(
        "an alert of the gap", lambda one: one["reason"] == "order_gap" and str(withheld) in one["detail"], since
    )
    assert gap["outcome"] == "alert", gap

with subtest("6: an order that is brought after a later one is a replay"):
    box.succeed("systemctl stop compliance-agent.service")
    since = newest()
    held = order("run-checks")
    tampered(held, "withheld.json")
    before = box.succeed("cat /var/backup/records.json")
    box.succeed("systemctl start compliance-agent.service")
    refusal = await_evidence("a refusal", lambda one: one["outcome"] == "rejected", since)
    expect(refusal, "rejected: replayed")
    ctl(f"order withdraw {SITE} {held}")
    assert box.succeed("cat /var/backup/records.json") == before, "the replayed order ran"

with subtest("6: an order for another site is rejected"):
    box.succeed("systemctl stop compliance-agent.service")
    since = newest()
    trust_file("clinic-007", "keys", "clinic-007")
    ctl(
        "order sign --key keys/orders.key --site clinic-007 --trust clinic-007/trust.dsse.json --sequence 1"
        " --out elsewhere.json run-backup records"
    )
    held = order("run-checks")
    tampered(held, "elsewhere.json")
    box.succeed("systemctl start compliance-agent.service")
    refusal = await_evidence("a refusal", lambda one: one["outcome"] == "rejected", since)
    expect(refusal, "rejected: wrong_site")
    ctl(f"order withdraw {SITE} {held}")

with subtest("After all that, honest orders are carried out, and the evidence is whole"):
    expect(end_of(order("run-backup records")), "success: done")
    prove()
