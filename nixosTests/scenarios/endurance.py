# Scenario 18: as many polls as a day has, and more rounds than polls, and the resident memory of both processes is
# at the end what it was after two hours' worth.

set_up()
POLLS_A_DAY = 1440
WARM = 120

# What may be resident in the end beyond what was then, in KiB: less than a KiB a poll.
GROWTH = 512


def resident(unit):
    """What a unit's process has resident, in KiB."""
    return int(box.succeed(f"sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/{process(unit)}/status"))


def memory():
    """The same, of both."""
    return {unit: resident(unit) for unit in ("compliance-agent", "compliance-executor")}


def polls():
    """How many requests the agent's connection has carried: all but a few are polls."""
    told = re.findall(r"data_segs_out:(\d+)", box.succeed("ss --tcp --info --no-header dst mcp:8443"))
    return max(map(int, told), default=0)


def hurry(unit, name, interval):
    """Lets a unit do what it does each so often every 200 ms."""
    box.succeed(
        f"sed 's/^{interval} = .*/{interval} = 200/' /etc/compliance/{name}.toml >/run/{name}.toml",
        f"grep -q '^{interval} = 200' /run/{name}.toml",
        f"mkdir -p /run/systemd/system/{unit}.service.d",
        f"command=$(systemctl show --property=ExecStart --value {unit}.service | sed -E 's/.*argv\\[\\]=([^;]*) ;.*/\\1/');"
        f" printf '[Service]\\nExecStart=\\nExecStart=%s\\n' \"${{command//\\/etc\\/compliance/\\/run}}\""
        f" >/run/systemd/system/{unit}.service.d/hurry.conf",
        "systemctl daemon-reload",
        f"systemctl restart {unit}.service",
    )


hurry("compliance-agent", "agent", "poll_interval_ms")
hurry("compliance-executor", "executor", "round_interval_ms")
wait_for("the first polls", lambda: polls() >= WARM, timeout=300)
warm = memory()
wait_for("a day of polls", lambda: polls() >= POLLS_A_DAY, timeout=1200)
cold = memory()
log.info(f"after {WARM} polls {warm}, after {polls()} {cold}")
for unit, kib in cold.items():
    assert kib - warm[unit] <= GROWTH, f"{unit} grew from {warm[unit]} to {kib} KiB"
    assert kib < 50 * 1024, f"{unit} has {kib} KiB resident"
prove()
