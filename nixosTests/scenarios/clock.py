# Scenario 17: the appliance's clock steps by a day and by ten years, either way, and nobody synchronises it. The
# time that counts is the control plane's; while nobody says the time, orders wait and healing goes on.

set_up()


def plane_time():
    """What time it is at the control plane, in seconds."""
    return int(mcp.succeed("date +%s"))


def ended_at(told):
    """When a bundle says that it ended, in seconds."""
    return int(mcp.succeed(f"date --date={told['finished_at']} +%s"))


for step in ("+1 day", "-1 day", "+10 years", "-10 years"):
    with subtest(f"The clock steps by {step}"):
        box.succeed(f"date --set='{step}'")
        told = end_of(order("run-checks"))
        expect(told, "success: checked")
        assert told["clock"]["source"] == "feed" and not told["clock"]["synchronised"], told["clock"]
        assert abs(ended_at(told) - plane_time()) < 120, (told["finished_at"], plane_time())
        box.succeed(f"date --set=@{plane_time()}")

with subtest("A clock that is behind after a boot is told, and the box finds its way back"):
    since = newest()
    box.shutdown()
    box.start()
    box.succeed("date --set='-10 years'", "systemctl restart compliance-executor.service")
    wait_for("the first poll", lambda: status()["last_head_at"])
    expect(end_of(order("run-checks")), "success: checked")
    assert any(one["reason"] == "clock_stepped_back" for one in listed() if one["sequence"] > since), listed()

with subtest("Without any time, healing goes on"):
    box.shutdown()
    mcp.block()
    boot(box)
    await_restart("scenario", kill("scenario"))
    clock = wait_for("the first report", lambda: status().get("clock"))
    assert clock["source"] == "none", clock
    mcp.unblock()
    wait_for("the next poll", lambda: status()["last_head_at"], timeout=120)
    prove()
