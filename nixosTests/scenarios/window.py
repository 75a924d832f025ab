# Scenario 12: something disruptive waits for the maintenance window, and is done in it. The appliance's clock is
# nobody's: the time is the control plane's.

set_up(BASELINE.replace('unit = "scenario.service"', 'unit = "scenario.service"\ndisruptive = true'))


def clock(when):
    """Sets the clock of both machines."""
    for machine in (mcp, box):
        machine.succeed(f"date --set='{when}'")


with subtest("Outside the window an order waits, and says until when"):
    clock("14:00")
    was = process("scenario")
    waiting = order("restart-service scenario.service", "--start-before 1d")
    told = await_evidence("the deferral", lambda one: one["order_sequence"] == waiting)
    expect(told, "deferred: outside_window")
    assert told["retry_after"].split("T")[1] == "00:00:00.000Z", told
    assert "scenario.service" not in json.dumps(told["actions"]), told
    assert process("scenario") == was
    assert any(gate["state"] == "closed" for gate in told["gates"] if gate["gate"] == "window"), told

with subtest("So does healing it"):
    since = newest()
    kill("scenario")
    told = await_evidence("the deferral", lambda one: one["check"] == "services" and one["outcome"] == "deferred", since)
    box.fail("systemctl is-active scenario.service")

with subtest("In the window both are done"):
    clock("tomorrow 00:01")
    expect(end_of(waiting, timeout=120), "success: done")
    wait_for("the check", lambda: states()["services"] == "compliant")
    box.succeed("systemctl is-active scenario.service")
    prove()
