# Scenario 3: the control plane is gone, by a power cut. The appliance goes on, queues its evidence, and delivers it.

set_up()
prove()
held = newest()

with subtest("Without the control plane the appliance heals, and keeps the evidence"):
    mcp.crash()
    await_restart("scenario", kill("scenario"))
    wait_for("evidence in the queue", lambda: status()["pending_bundles"] >= 2)
    report = json.loads(box.execute(agent("status --json"))[1])
    assert report["polls"]["failures"] > 0, report["polls"]

with subtest("What is queued survives a power cut of the appliance"):
    queued = status()["pending_bundles"]
    box.crash()
    boot(box)
    wait_for("the executor", lambda: status()["pending_bundles"] >= queued)

with subtest("Once it is back, everything arrives once, in order, and gets its receipt"):
    boot(mcp)
    serve()
    wait_for("the next poll", lambda: status()["pending_bundles"] == 0)
    arrived = [one for one in listed() if one["sequence"] > held]
    reasons = [one["reason"] for one in arrived]
    assert len({one["sequence"] for one in arrived}) == len(arrived), arrived
    assert "connectivity_lost" in reasons and "done" in reasons, reasons
    prove()
    expect(end_of(order("run-checks")), "success: checked")
