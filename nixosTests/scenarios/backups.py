# Scenario 9: a backup is stale, so its job is run; an archive that is gone is seen at once.

set_up()

with subtest("A stale backup is run"):
    since = newest()
    box.succeed("sed -i 's/\"finished_at\":\"[^\"]*\"/\"finished_at\":\"2026-11-01T00:00:00.000Z\"/' /var/backup/records.json")
    heal = await_evidence("the heal", lambda one: one["check"] == "backups" and one["reason"] == "done", since)
    expect(heal, "success: done")
    assert heal["findings"][0]["subject"] == "records" and "old" in heal["findings"][0]["actual"], heal
    assert heal["state"] == "compliant", heal
    box.fail("grep 2026-11-01 /var/backup/records.json")

with subtest("A backup whose archive is gone is run"):
    since = newest()
    box.succeed("rm /var/backup/records.tar")
    heal = await_evidence("the heal", lambda one: one["check"] == "backups" and one["reason"] == "done", since)
    expect(heal, "success: done")
    box.succeed("test -s /var/backup/records.tar")
    prove()
