# Scenario 8: somebody opens a port; the signed ruleset is loaded again, and the evidence names who it was.

set_up()
ruleset = box.succeed("nft -s list ruleset")

with subtest("A rule too many is taken out again"):
    since = newest()
    box.succeed("nft add rule inet nixos-fw input-allow tcp dport 23 accept")
    heal = await_evidence("the heal", lambda one: one["check"] == "firewall" and one["reason"] == "done", since)
    expect(heal, "success: done")
    assert any("1 more rule" in it["actual"] and "by nft (pid " in it["actual"] for it in heal["findings"]), heal
    assert box.succeed("nft -s list ruleset") == ruleset, "another ruleset than before"

with subtest("A ruleset that was flushed is loaded again"):
    since = newest()
    box.succeed("nft flush ruleset")
    heal = await_evidence("the heal", lambda one: one["check"] == "firewall" and one["outcome"] == "success" and one["reason"] == "done", since)
    assert box.succeed("nft -s list ruleset") == ruleset, "another ruleset than before"

with subtest("The agent's own table is put right, and filled at once, though its timer does not run"):
    box.succeed("systemctl stop compliance-egress.timer")
    for change in ("nft insert rule inet compliance_egress agent accept", "nft delete table inet compliance_egress"):
        since = newest()
        box.succeed(change)
        box.wait_until_succeeds("nft list set inet compliance_egress mcp4 | grep -F 192.168.1.2", timeout=20)
        heal = await_evidence("the heal", lambda one: one["check"] == "firewall" and one["reason"] == "done", since)
        expect(heal, "success: done")
        last = heal["actions"][-1]
        assert (last["name"], last["result"]) == ("fill_sets", "done"), heal["actions"]
        assert last["target"] == "compliance-egress-refresh.service", heal["actions"]
        assert box.succeed("nft -s list ruleset") == ruleset, "another ruleset than before"
    box.succeed("systemctl start compliance-egress.timer")

with subtest("Without the executor, its keeper puts a rule right that somebody changed"):
    box.succeed("systemctl stop compliance-executor.service", "nft insert rule inet compliance_egress agent accept")
    box.wait_until_fails("nft list chain inet compliance_egress agent | grep -E '^[[:space:]]*accept$'", timeout=20)
    assert box.succeed("nft -s list ruleset") == ruleset, "another ruleset than before"
    box.succeed("systemctl start compliance-executor.service")
    wait_for("the check", lambda: states().get("firewall") == "compliant")

with subtest("A table that does not belong here is told, and left alone"):
    since = newest()
    box.succeed("nft add table ip stranger")
    alert = await_evidence("the alert", lambda one: one["check"] == "firewall" and one["outcome"] == "alert", since)
    assert any("stranger" in it["subject"] for it in alert["findings"]), alert
    box.succeed("nft list table ip stranger", "nft delete table ip stranger")
    wait_for("the check", lambda: states()["firewall"] == "compliant")
    prove()
