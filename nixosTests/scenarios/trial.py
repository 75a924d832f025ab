# A machine is restarted by order; and a system that has to be booted is tried once by the boot loader, whose default
# stays what it was until the new one has proven itself.

set_up()
old = path_of("box")


def restarted():
    """Waits until the machine has gone down by itself, and starts it again."""
    box.wait_for_shutdown()
    boot(box)
    wait_for("the first poll", lambda: status()["last_head_at"])


def default():
    """What the boot loader starts by default."""
    return box.succeed(
        "entry=$(sed -n 's/^default //p' /boot/loader/loader.conf)"
        " && sed -n 's|^options init=\\(.*\\)/init .*|\\1|p' /boot/loader/entries/$entry"
    ).strip()


with subtest("A restart by order is announced, done, and judged by the boot that follows"):
    sequence = order("reboot")
    restarted()
    expect(end_of(sequence, timeout=120), "success: rebooted")
    await_evidence("the announcement", lambda one: one["reason"] == "reboot_announced")
    assert running() == (old, old), running()

with subtest("A system with another kernel that is sick is gone back from by a restart"):
    sick = path_of("sick-kernel")
    sequence = activate("sick-kernel", 2)
    restarted()
    assert running() == (sick, old) and default() == old, (running(), default())
    restarted()
    expect(end_of(sequence, timeout=120), "reverted: worse_than_before")
    assert running() == (old, old) and default() == old and deadmen() == "", (running(), default())

with subtest("The power fails on trial: the machine comes up as it was, and is not tried again"):
    cut = path_of("cut-kernel")
    sequence = activate("cut-kernel", 3)
    restarted()
    assert running() == (cut, old) and default() == old, (running(), default())
    box.crash()
    boot(box)
    expect(end_of(sequence, timeout=120), "reverted: interrupted")
    assert running() == (old, old) and default() == old, (running(), default())

with subtest("A system with another kernel is tried, proven, and only then what boots"):
    new = path_of("kernel")
    sequence = activate("kernel", 4)
    restarted()
    assert running() == (new, old) and default() == old, (running(), default())
    expect(end_of(sequence, timeout=180), "success: activated")
    assert running() == (new, new) and default() == new and deadmen() == "", (running(), default())
    box.crash()
    boot(box)
    assert running() == (new, new), running()
    prove()
