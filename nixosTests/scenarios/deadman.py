# Scenario 14: the new system takes the machine off the network. The executor sees it and goes back; where the
# executor does not start with the new system either, the dead-man does, and nobody helps.

set_up()
old = path_of("box")

with subtest("A system that loses the network is taken back"):
    told = end_of(activate("offline", 2), timeout=240)
    expect(told, "reverted: no_connection")
    assert told["rollback"]["performed"] and told["rollback"]["to"] == old, told
    assert running() == (old, old) and deadmen() == "", (running(), deadmen())

with subtest("A system that loses the network and the executor is taken back by the dead-man"):
    told = end_of(activate("dead", 3), timeout=300)
    expect(told, "reverted: deadman")
    assert running() == (old, old) and deadmen() == "", (running(), deadmen())
    prove()

with subtest("What boots was never touched"):
    box.crash()
    boot(box)
    assert booted() == old, booted()
