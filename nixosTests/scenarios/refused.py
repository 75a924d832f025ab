# Scenarios 1, 2 and 6: orders that are forged, late, brought again, meant for another site, or missing. The control
# plane's own database is tampered with, since the honest server takes none of these: an owned control plane can
# hand out what it likes, and the appliance still judges the signed bytes.

set_up()


def tampered(sequence, envelope):
    """The control plane hands out these bytes in place of that order's."""
    payload = json.loads(mcp.succeed(f"cat {OPERATOR}/{envelope}"))["payload"]
    sha256 = hashlib.sha256(base64.b64decode(payload)).hexdigest()
    mcp.succeed(
        f"sqlite3 -cmd '.timeout 5000' /var/lib/compliance-mcp/*.db \"UPDATE orders SET envelope = readfile('{OPERATOR}/{envelope}'),"
        f" payload_sha256 = x'{sha256}' WHERE sequence = {sequence}\""
    )
    return sha256


with subtest("An honest order is carried out"):
    expect(end_of(order("run-checks")), "success: checked")

with subtest("1: a forged order is rejected, and leaves evidence"):
    box.succeed("systemctl stop compliance-agent.service")
    ctl("key generate --role orders --name stranger --out keys")
    ctl(f"order sign --key keys/stranger.key --site {SITE} --out forged.json run-backup records")
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
    gap = await_evidence("an alert of the gap", lambda one: one["reason"] == "order_gap", since)
    assert gap["outcome"] == "alert" and str(withheld) in gap["detail"], gap

with subtest("6: an order that is brought after a later one is a replay"):
    box.succeed("systemctl stop compliance-agent.service")
    since = newest()
    tampered(order("run-checks"), "withheld.json")
    before = box.succeed("cat /var/backup/records.json")
    box.succeed("systemctl start compliance-agent.service")
    refusal = await_evidence("a refusal", lambda one: one["outcome"] == "rejected", since)
    expect(refusal, "rejected: replayed")
    assert box.succeed("cat /var/backup/records.json") == before, "the replayed order ran"

with subtest("6: an order for another site is rejected"):
    box.succeed("systemctl stop compliance-agent.service")
    since = newest()
    ctl(
        f"site add clinic-007 --tenant {TENANT} --csr tls.csr --evidence-pub evidence.pub --authority offline"
        f" --root-key keys/root.key --keys keys --log-origin {ORIGIN} --out clinic-007"
    )
    ctl(
        "order sign --key keys/orders.key --site clinic-007 --trust clinic-007/trust.dsse.json --sequence 1"
        " --out elsewhere.json run-backup records"
    )
    tampered(order("run-checks"), "elsewhere.json")
    box.succeed("systemctl start compliance-agent.service")
    refusal = await_evidence("a refusal", lambda one: one["outcome"] == "rejected", since)
    expect(refusal, "rejected: wrong_site")

with subtest("After all that, honest orders are carried out, and the evidence is whole"):
    expect(end_of(order("run-backup records")), "success: done")
    prove()
