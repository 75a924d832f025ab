# Scenario 13: the power fails in each phase of an activation. After each boot the system runs that was proven, and
# the order has exactly one terminal outcome.

set_up()
old = path_of("box")
PROFILE = "/nix/var/nix/profiles/system"
SWITCH = "nixos-rebuild-switch-to-configuration.service"
version = 1


def power_cut_when(system, condition):
    """Orders the system, and cuts the power at the first moment that the condition holds; gives the order.

    Somebody on the machine watches, since a look from here takes longer than the moment lasts: at that moment
    everything that works on the activation is stopped, and stays so until the power is gone."""
    global version
    version += 1
    box.succeed(
        "cat >/run/watch <<'END'\n"
        "cd /sys/fs/cgroup/system.slice\n"
        f"until {condition}; do :; done\n"
        # Whoever would have to start a program first comes too late, and on NixOS a unit finds none.
        f"for unit in compliance-executor.service {SWITCH}; do\n"
        "  [ ! -e $unit/cgroup.freeze ] || echo 1 >$unit/cgroup.freeze\n"
        "done\n"
        ": >/run/stopped\n"
        "END",
        # It never rests, and the machine has one processor.
        "systemd-run --unit=watcher --collect --nice=5 bash /run/watch",
    )
    sequence = activate(system, version)
    box.wait_for_file("/run/stopped", timeout=180)
    return sequence


def boot_again():
    """Cuts the power, and waits until the executor answers again."""
    box.crash()
    boot(box)
    wait_for("the first poll", lambda: status()["last_head_at"])


def cut(phase, system, condition, at, wanted):
    """One phase: at that moment that runs, and that is the profile; afterwards all is as before, and that is told."""
    with subtest(f"The power fails {phase}"):
        new = path_of(system)
        sequence = power_cut_when(system, condition.format(new=new))
        assert running() == tuple({"old": old, "new": new}[which] for which in at), running()
        boot_again()
        assert booted() == old, booted()
        told = end_of(sequence, timeout=120)
        assert outcome(told) in wanted, told
        assert running() == (old, old) and deadmen() == "", (running(), deadmen())


# Another system each time: one that did not come through is left alone for a day.
cut(
    "before the switch, with the dead-man armed",
    "slow1",
    "set -- /run/systemd/transient/compliance-deadman-*.timer; [ -e \"$1\" ]",
    ("old", "old"),
    ("failed: interrupted", "reverted: interrupted"),
)
cut("in the switch", "slow2", "[ /run/current-system -ef {new} ]", ("new", "old"), ("reverted: interrupted",))
cut(
    "between the switch and what boots",
    "slow3",
    f"[ /run/current-system -ef {{new}} ] && [ ! -e /run/systemd/transient/{SWITCH} ]",
    ("new", "old"),
    ("reverted: interrupted",),
)
cut(
    "between the profile and the boot loader",
    "slow4",
    f"[ {PROFILE} -ef {{new}} ]",
    ("new", "new"),
    ("reverted: interrupted",),
)

with subtest("The power fails once the boot loader knows the new system, which is proven"):
    new = path_of("slow4")
    box.succeed("cp /boot/loader/loader.conf /run/loader.conf")
    sequence = power_cut_when("slow4", "[ \"$(</boot/loader/loader.conf)\" != \"$(</run/loader.conf)\" ]")
    # What it knows is what is on the disk.
    box.succeed("sync --file-system /boot/loader/loader.conf")
    boot_again()
    assert booted() == new, booted()
    expect(end_of(sequence, timeout=120), "success: activated")
    assert running() == (new, new) and deadmen() == "", (running(), deadmen())
    prove()
