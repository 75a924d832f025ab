# Scenario 16: nothing listens, the agent reaches nobody but the control plane, keys are root's, and the agent's
# user can do nothing that matters.

set_up()
AS_AGENT = "setpriv --reuid=compliance-agent --regid=compliance-agent --clear-groups --no-new-privs"


def inside(command):
    """A command as the agent's user in the agent's own control group, where its limits hold."""
    return (
        "bash -c 'echo $$ >/sys/fs/cgroup/system.slice/compliance-agent.service/cgroup.procs &&"
        f" exec {AS_AGENT} {command}'"
    )


with subtest("Nothing of ours listens on a network"):
    sockets = box.succeed("ss --listening --numeric --tcp --udp --raw --sctp --processes --no-header")
    # A test machine of NixOS has a client of DHCP.
    others = [line for line in sockets.splitlines() if "dhcpcd" not in line]
    assert not others, others
    assert box.get_unit_property("compliance-agent.service", "SocketBindDeny") == "any"
    assert box.get_unit_property("compliance-executor.service", "SocketBindDeny") == "any"

with subtest("The agent cannot listen"):
    # What waits for a connection until its time is over, listens: the same user does, outside of the unit.
    for listen in ("timeout 2 nc -l 127.0.0.1 9999", "timeout 2 nc -u -l 127.0.0.1 9999"):
        assert box.execute(f"{AS_AGENT} {listen}")[0] == 124
        assert box.execute(inside(listen))[0] not in (0, 124)

with subtest("The agent reaches the control plane, and nobody else"):
    mcp.succeed("systemd-run --unit=elsewhere nc -l -k 9999")
    box.wait_until_succeeds("nc -z -w 2 mcp 9999", timeout=10)
    box.succeed(inside("nc -z -w 2 mcp 8443"))
    box.fail(inside("nc -z -w 2 mcp 9999"))
    box.fail(f"{AS_AGENT} nc -z -w 2 mcp 9999")
    box.succeed("nc -z -w 2 mcp 9999")

with subtest("Keys are nobody else's to read"):
    for key in ("evidence.key", "tls.key", "ledger.db"):
        path = f"{BOX}/{key}"
        box.succeed(f"test -s {path}")
        for user in ("compliance-agent", "nobody"):
            box.fail(f"setpriv --reuid={user} --clear-groups cat {path}")
    box.fail(f"{AS_AGENT} ls {BOX}")

with subtest("The agent's user can do nothing that matters"):
    # Root can.
    for command in (
        "systemctl --no-ask-password restart scenario.service",
        "nft list ruleset",
        "touch /etc/compliance/agent.toml.new",
        "touch /run/compliance/executor.sock.new",
        "mkdir /run/compliance-new",
        "kill -0 1",
        f"kill -0 {process('compliance-executor')}",
        "ln -sfn $(readlink /nix/var/nix/profiles/system) /nix/var/nix/profiles/system",
    ):
        box.fail(f"{AS_AGENT} {command}")
        box.succeed(command)
    # It would do harm.
    for command in ("nft flush ruleset", "date --set=2030-01-01"):
        box.fail(f"{AS_AGENT} {command}")

with subtest("Nobody else is answered by the executor"):
    box.succeed(f"{AS_AGENT} nc -z -U /run/compliance/executor.sock")
    box.fail("setpriv --reuid=nobody --clear-groups nc -z -U /run/compliance/executor.sock")

with subtest("What the processes see of the machine is what they need"):
    agent_process = process("compliance-agent")
    told = box.succeed(f"grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/{agent_process}/status").split()
    nothing = {"CapEff:": "0" * 16, "CapBnd:": "0" * 16, "NoNewPrivs:": "1", "Seccomp:": "2"}
    assert dict(zip(told[::2], told[1::2], strict=True)) == nothing, told
    told = box.execute(f"nsenter --mount --target {agent_process} touch /etc/agent-was-here 2>&1")[1]
    assert "Read-only file system" in told, told
    prove()
