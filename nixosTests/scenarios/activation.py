# Scenarios 4 and 15: a system that works is activated, though the switch restarts the agent and the executor; one
# that cannot be fetched, one whose activation fails and one that is sick are not, and all is as before.

set_up()
old = path_of("box")
assert running() == (old, old), running()


with subtest("4: a system that cannot be had changes nothing"):
    sha256 = bring_baseline("next", 2)
    missing = "/nix/store/" + "0" * 32 + "-nixos-system-next"
    refusal = end_of(order_system(missing, nar_hash(path_of("next")), sha256))
    assert refusal["outcome"] in ("rejected", "failed"), refusal
    assert "max_runtime_s" not in refusal["detail"], refusal
    assert running() == (old, old), running()

with subtest("4: a system whose activation fails is taken back"):
    told = end_of(activate("refuses", 3), timeout=120)
    expect(told, "reverted: switch_failed")
    assert told["rollback"] == {"available": True, "performed": True, "to": old}, told
    assert running() == (old, old) and deadmen() == "", (running(), deadmen())

with subtest("4: a system with a unit that fails is taken back"):
    told = end_of(activate("broken", 4), timeout=120)
    expect(told, "reverted: worse_than_before")
    assert running() == (old, old) and deadmen() == "", (running(), deadmen())
    box.fail("systemctl cat broken.service")

with subtest("15: a system that works is activated, and the switch restarts who ordered it"):
    new = path_of("next")
    before = process("compliance-executor"), process("compliance-agent")
    told = end_of(order_system(new, nar_hash(new), sha256), timeout=120)
    expect(told, "success: activated")
    assert running() == (new, new) and deadmen() == "", (running(), deadmen())
    after = process("compliance-executor"), process("compliance-agent")
    assert "0" not in after and not set(before) & set(after), (before, after)

with subtest("It is what boots"):
    box.shutdown()
    boot(box)
    assert booted() == new, booted()
    wait_for("the first poll", lambda: status()["last_head_at"])
    expect(end_of(order("run-checks")), "success: checked")
    assert running() == (new, new), running()
    prove()
