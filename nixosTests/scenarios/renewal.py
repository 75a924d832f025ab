# The appliance's certificate nears its end: it asks for a new one, an operator answers, and the agent goes on with it.
# What an owned control plane hands over, or whoever owns the agent's user leaves in its place, is not put in place.

set_up()
AS_AGENT = "setpriv --reuid=compliance-agent --regid=compliance-agent --clear-groups"
RECEIVED = "/var/lib/compliance-renew/tls.pem"


def in_use():
    """The digest of the certificate in use."""
    return box.succeed(f"sha256sum <{BOX}/tls.pem").split()[0]


def ask():
    """The box asks for a certificate; what it said of the answer. One that fails would try again in an hour."""
    box.execute("timeout 15 systemctl start compliance-renew.service")
    told = box.succeed("journalctl --unit=compliance-renew.service --output=cat --lines=4")
    box.succeed("systemctl stop compliance-renew.service")
    return told


def issued(out):
    """A certificate for the box that ends in 25 days, made when that was 340 days away."""
    mcp.succeed("systemctl stop compliance-mcp.service", "date --set='-340 days'")
    trust_file(SITE, "keys", out)
    mcp.succeed("date --set='+340 days'", "systemctl start compliance-mcp.service")
    mcp.wait_for_unit("compliance-mcp.service")


with subtest("A certificate that is good for long is not asked for again"):
    was = in_use()
    assert "good for longer than 30 days" in ask()
    assert in_use() == was

with subtest("One that ends in 25 days is asked for, and the agent goes on with the one it has"):
    issued("short")
    carry(mcp, f"{OPERATOR}/short/tls.pem", box, f"{BOX}/tls.pem")
    short = in_use()
    assert short != was
    expect(end_of(order("run-checks")), "success: checked")
    assert "is asked for" in ask()
    assert in_use() == short

with subtest("A certificate of another authority, from an owned control plane, is not taken"):
    # The same key and a longer life: only who signed it is another.
    mcp.succeed(
        f"compliance-mcp init --dir /root/forger --tenant {TENANT} --name mcp --root-pub {OPERATOR}/keys/root.pub"
    )
    ctl(
        f"site add {SITE} --tenant {TENANT} --csr tls.csr --evidence-pub evidence.pub --authority /root/forger/offline"
        f" --root-key keys/root.key --keys keys --log-origin {ORIGIN} --out forged"
    )
    mcp.succeed(
        "sqlite3 -cmd '.timeout 5000' /var/lib/compliance-mcp/mcp.sqlite \"UPDATE certificates SET certificate ="
        f" CAST(readfile('{OPERATOR}/forged/tls.pem') AS TEXT)\""
    )
    told = ask()
    assert "sent a certificate that is not put in place" in told, told
    box.fail(f"test -e {RECEIVED}")
    assert in_use() == short

with subtest("What the agent's user leaves in place of a received certificate is not put in place"):
    carry(mcp, f"{OPERATOR}/forged/tls.pem", box, "/run/forged.pem")
    box.succeed("chmod 644 /run/forged.pem")
    since = newest()
    for leave in (
        f"cp /run/forged.pem {RECEIVED}",
        f"touch {RECEIVED}",
        f"mkfifo {RECEIVED}",
        f"mkdir {RECEIVED}",
        f"ln -s {BOX}/tls.key {RECEIVED}",
        f"ln -s /dev/zero {RECEIVED}",
        f"dd if=/dev/zero of={RECEIVED} bs=1M count=4 status=none",
    ):
        box.succeed(f"{AS_AGENT} {leave}")
        box.fail("timeout 30 systemctl start compliance-renewed.service")
        assert box.get_unit_property("compliance-renewed.service", "ExecMainStatus") == "2", leave
        assert in_use() == short, leave
        box.succeed(f"rm -r {RECEIVED}")
    told = await_evidence("the failed unit", lambda one: one["check"] == "services" and one["outcome"] == "alert", since)
    assert "compliance-renewed.service" in json.dumps(told["findings"]), told
    box.succeed("systemctl reset-failed compliance-renewed.service")

with subtest("What an operator answers is put in place, and the agent polls with it"):
    mcp.succeed(
        "sqlite3 -cmd '.timeout 5000' /var/lib/compliance-mcp/mcp.sqlite 'UPDATE certificates SET certificate = NULL'"
    )
    ctl(f"site renew {SITE} --enrolled {SITE} --authority offline")
    agent_was, executor_was = process("compliance-agent"), process("compliance-executor")
    assert "is there" in ask()
    wait_for("the new certificate", lambda: in_use() != short)
    wait_for("the agent's restart", lambda: process("compliance-agent") not in ("0", agent_was))
    box.succeed(f"openssl x509 -in {BOX}/tls.pem -noout -checkend $((300 * 86400))")
    assert in_use() == mcp.succeed(f"sha256sum <{OPERATOR}/{SITE}/tls.pem").split()[0]
    assert box.succeed(f"stat --format='%U %a' {BOX}/tls.pem").split() == ["root", "644"]
    expect(end_of(order("run-checks")), "success: checked")
    assert process("compliance-executor") == executor_was

with subtest("Then none is due, and the older one does not come back"):
    new = in_use()
    assert "good for longer than 30 days" in ask()
    carry(mcp, f"{OPERATOR}/short/tls.pem", box, RECEIVED)
    box.succeed("systemctl start compliance-renewed.service")
    assert in_use() == new
    prove()
