# Scenario 10: the journal takes entries and does not keep them; the canary tells, and a restart helps.

set_up(BASELINE.replace("canary_limit_s = 2", "canary_limit_s = 2\ncanary_minutes = 1"))

with subtest("A journal that keeps nothing is restarted"):
    since = newest()
    # journald reads it as it starts, and what it is restarted with is good again.
    box.succeed(
        "mkdir -p /run/systemd/journald.conf.d",
        "printf '[Journal]\\nMaxLevelStore=err\\n' >/run/systemd/journald.conf.d/deaf.conf",
        "systemctl restart systemd-journald.service",
        "rm /run/systemd/journald.conf.d/deaf.conf",
    )
    deaf = box.get_unit_property("systemd-journald.service", "MainPID")
    heal = await_evidence("the heal", lambda one: one["check"] == "logging" and one["reason"] == "done", since, timeout=120)
    expect(heal, "success: done")
    assert any("canary" in it["actual"] for it in heal["findings"]), heal
    assert box.get_unit_property("systemd-journald.service", "MainPID") != deaf

with subtest("The journal keeps entries again, and no line of it has left the machine"):
    box.succeed("logger --tag=scenario 'the patient is John Doe'", "journalctl --sync", "journalctl -t scenario | grep -q 'John Doe'")
    expect(end_of(order("run-checks")), "success: checked")
    prove()
    mcp.fail(f"grep -r 'John Doe' {OPERATOR}/export-*")
