# Scenario 7: a service is killed and healed; one that cannot start is left alone after three tries.

set_up()

with subtest("A service that was killed is started again"):
    since = newest()
    was = kill("scenario")
    heal = await_evidence("the heal", lambda one: one["check"] == "services" and one["reason"] == "done", since)
    assert {step["target"] for step in heal["actions"]} == {"scenario.service"}, heal
    assert [it["subject"] for it in heal["findings"]] == ["scenario.service"], heal
    expect(heal, "success: done")
    assert heal["trigger"]["order_id"] is None and heal["state"] == "compliant", heal
    assert process("scenario") not in ("0", was)

with subtest("A service that cannot start is tried three times, and then a person is asked"):
    since = newest()
    box.succeed(
        "mkdir -p /run/systemd/system/scenario.service.d",
        "printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c \"exit 1\"\\n' >/run/systemd/system/scenario.service.d/broken.conf",
        "systemctl daemon-reload",
    )
    kill("scenario")
    alert = await_evidence("the breaker", lambda one: one["reason"] == "breaker_open", since, timeout=180)
    assert alert["outcome"] == "alert", alert
    tries = [one for one in listed() if one["sequence"] > since and one["check"] == "services" and one["outcome"] == "failed"]
    assert len(tries) == 3, tries

with subtest("Then there is silence"):
    since = newest()
    box.succeed("sleep 25")
    noise = [one for one in listed() if one["sequence"] > since and one["reason"] != "round"]
    assert not noise, noise

with subtest("What a person repairs is seen to be good"):
    box.succeed("rm /run/systemd/system/scenario.service.d/broken.conf", "systemctl daemon-reload", "systemctl restart scenario.service")
    wait_for("the check", lambda: states()["services"] == "compliant")
    prove()
