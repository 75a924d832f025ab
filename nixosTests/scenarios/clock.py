# Scenario 17: the appliance's clock steps by a day and by ten years, either way. The time that counts is then the
# control plane's, also where the kernel says that its clock is synchronised: one source does not move it by over a
# day, nor back. While nobody says the time, orders wait and healing goes on.

set_up()

# The number of the system call.
ADJTIMEX = {"x86_64": 159, "aarch64": 171}[box.succeed("uname -m").strip()]


def plane_time():
    """What time it is at the control plane, in seconds."""
    return int(mcp.succeed("date +%s"))


def ended_at(told):
    """When a bundle says that it ended, in seconds."""
    return int(mcp.succeed(f"date --date={told['finished_at']} +%s"))


def set_clock(when):
    """Sets the box's clock, which from now on counts as synchronised: as a time service does it, by adjtimex(2)."""
    box.succeed(
        f"date --set='{when}'",
        # Status, and both bounds of the error, to 0.
        f"perl -e '$t = pack(\"Lx4q4lx200\", 0x1c, 0, 0, 0, 0, 0); syscall({ADJTIMEX}, $t) == 0 or die \"adjtimex: $!\"'",
    )


def clock_of(told):
    """Who said the time, whether the clock was synchronised, and whether it was behind."""
    return tuple(told["clock"][name] for name in ("source", "synchronised", "stepped_back"))


for step in ("+1 day", "-1 day", "+10 years", "-10 years"):
    with subtest(f"The clock steps by {step}"):
        box.succeed(f"date --set='{step}'")
        told = end_of(order("run-checks"))
        expect(told, "success: checked")
        assert told["clock"]["source"] == "feed" and not told["clock"]["synchronised"], told["clock"]
        assert abs(ended_at(told) - plane_time()) < 120, (told["finished_at"], plane_time())
        box.succeed(f"date --set=@{plane_time()}")

# A day and a little: a synchronised clock is believed when it goes on by less, as is seen below.
for step in ("+1 day +5 minutes", "-1 day", "+10 years", "-10 years"):
    with subtest(f"A clock that is synchronised steps by {step}"):
        set_clock(f"@{plane_time()}")
        told = end_of(order("run-checks"))
        expect(told, "success: checked")
        assert clock_of(told) == ("kernel", True, False), told["clock"]
        since = newest()
        set_clock(step)
        told = end_of(order("run-checks"))
        expect(told, "success: checked")
        assert clock_of(told) == ("feed", True, step[0] == "-"), told["clock"]
        assert abs(ended_at(told) - plane_time()) < 120, (told["finished_at"], plane_time())
        alerts = [one for one in listed() if one["reason"] == "clock_stepped_back" and one["sequence"] > since]
        assert len(alerts) == (step[0] == "-"), alerts
        await_restart("scenario", kill("scenario"))

set_clock(f"@{plane_time()}")

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
    set_clock("+2 days")
    await_restart("scenario", kill("scenario"))
    wait_for("the doubt", lambda: status().get("clock", {}).get("synchronised"))
    assert status()["clock"]["source"] == "none", status()["clock"]
    set_clock("-2 days")
    mcp.unblock()
    wait_for("the next poll", lambda: status()["last_head_at"], timeout=120)

with subtest("A step of less than a day is believed of a synchronised clock: what is late by it has expired"):
    set_clock(f"@{plane_time()}")
    expect(end_of(order("run-checks")), "success: checked")
    set_clock("+23 hours")
    told = end_of(order("run-checks"))
    expect(told, "expired: expired")
    assert clock_of(told) == ("kernel", True, False), told["clock"]

with subtest("Back from there it is believed since the control plane says the same"):
    set_clock(f"@{plane_time()}")
    told = end_of(order("run-checks"))
    expect(told, "success: checked")
    assert clock_of(told)[:2] == ("kernel", True), told["clock"]

with subtest("A step of two days is believed when both say so"):
    mcp.succeed("date --set='+2 days'")
    set_clock(f"@{plane_time()}")
    told = end_of(order("run-checks"))
    expect(told, "success: checked")
    assert clock_of(told) == ("kernel", True, False), told["clock"]
    assert abs(ended_at(told) - plane_time()) < 120, (told["finished_at"], plane_time())
    prove()
