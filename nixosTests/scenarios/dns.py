# Scenario 5: names no longer resolve. The agent lives on and says so, still reaches nobody else, and is back once
# they do.

set_up()
ADDRESS = "192.168.1.2"
AS_AGENT = "setpriv --reuid=compliance-agent --regid=compliance-agent --clear-groups"


def allowed():
    """The addresses that the agent may reach."""
    return re.findall(r"192\.168\.1\.\d+", box.succeed("nft list set inet compliance_egress mcp4"))


with subtest("The control plane's name comes from a resolver"):
    mcp.succeed(f"systemd-run --unit=resolver dnsmasq --keep-in-foreground --no-resolv --no-hosts --address=/mcp/{ADDRESS}")
    # Mounts, since on NixOS these files are not to be written.
    box.succeed(
        "grep -v mcp /etc/hosts >/run/hosts && mount --bind /run/hosts /etc/hosts",
        f"echo nameserver {ADDRESS} >/run/resolv.conf && mount --bind /run/resolv.conf /etc/resolv.conf",
        "systemctl restart compliance-agent.service",
    )
    expect(end_of(order("run-checks")), "success: checked")
    box.wait_until_succeeds("systemctl start compliance-egress-refresh.service && getent hosts mcp", timeout=30)
    assert allowed() == [ADDRESS], allowed()

with subtest("Without the resolver the agent lives on, and the egress is as it was"):
    mcp.succeed("systemctl stop resolver.service", "systemctl restart compliance-mcp.service")
    was = process("compliance-agent")
    wait_for("evidence of the loss", lambda: status()["pending_bundles"] > 0)
    # Twice, since one failure changes nothing.
    box.execute("systemctl start compliance-egress-refresh.service; systemctl start compliance-egress-refresh.service")
    assert allowed() == [ADDRESS], allowed()
    mcp.succeed("systemd-run --unit=elsewhere nc -l -k 9999")
    box.wait_until_succeeds(f"nc -z -w 2 {ADDRESS} 9999", timeout=10)
    box.fail(f"{AS_AGENT} nc -z -w 2 {ADDRESS} 9999")
    assert process("compliance-agent") == was
    told = json.loads(box.execute(agent("status --json"))[1])
    assert told["polls"]["last_failure"]["cause"] == "dns", told["polls"]

with subtest("Once names resolve again, the evidence arrives, with the alert"):
    mcp.succeed("systemctl start resolver.service || systemd-run --unit=resolver dnsmasq --keep-in-foreground"
                f" --no-resolv --no-hosts --address=/mcp/{ADDRESS}")
    lost = await_evidence("the alert", lambda one: one["reason"] == "connectivity_lost", timeout=120)
    assert lost["outcome"] == "alert", lost
    expect(end_of(order("run-checks")), "success: checked")
    prove()
