# Scenarios 4 and 15: a system that works is activated, though the switch restarts the agent and the executor; one
# that cannot be fetched, one whose build fails, one whose activation fails and one that is sick are not, and all is as
# before.

import zlib

set_up()
old = path_of("box")
assert running() == (old, old), running()

# A system as a flake has it, whose build ends with an error.
FLAKE = """
{
  outputs = _: {
    nixosConfigurations.fails.config.system.build.toplevel = derivation {
      name = "nixos-system-fails";
      system = "SYSTEM";
      builder = "/bin/sh";
      args = [ "-c" "echo the build was here >&2; exit 3" ];
    };
  };
}
""".replace("SYSTEM", f"{box.succeed('uname -m').strip()}-linux")


def commit(folder, name, text):
    """A repository of Git on the box with one file, without Git; gives the commit."""
    objects = {}

    def keep(kind, body):
        data = f"{kind} {len(body)}\0".encode() + body
        sha1 = hashlib.sha1(data).hexdigest()
        objects[sha1] = zlib.compress(data)
        return sha1

    blob = keep("blob", text.encode())
    tree = keep("tree", f"100644 {name}\0".encode() + bytes.fromhex(blob))
    who = "test <test@localhost> 1700000000 +0000"
    head = keep("commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\nA system\n".encode())
    for sha1, data in objects.items():
        path = f"{folder}/.git/objects/{sha1[:2]}/{sha1[2:]}"
        box.succeed(f"mkdir -p $(dirname {path}) && base64 -d >{path} <<<'{base64.b64encode(data).decode()}'")
    box.succeed(
        f"cd {folder}/.git && mkdir -p refs/heads && echo {head} >refs/heads/main && echo ref: refs/heads/main >HEAD",
        f"printf '[core]\n\trepositoryformatversion = 0\n\tbare = false\n' >{folder}/.git/config",
        # It is root's, and somebody else builds it.
        "printf '[safe]\n\tdirectory = *\n' >/etc/gitconfig",
    )
    return head


with subtest("4: a system that cannot be had changes nothing"):
    sha256 = bring_baseline("next", 2)
    missing = "/nix/store/" + "0" * 32 + "-nixos-system-next"
    refusal = end_of(order_system(missing, nar_hash(path_of("next")), sha256))
    assert refusal["outcome"] in ("rejected", "failed"), refusal
    assert "max_runtime_s" not in refusal["detail"], refusal
    assert running() == (old, old), running()

with subtest("4: a system whose build fails on the box changes nothing"):
    head = commit("/srv/clinics", "flake.nix", FLAKE)
    # The path is here already: the order says that it is to be built all the same.
    new = path_of("next")
    options = f"--nar-hash {nar_hash(new)} --baseline-sha256 {sha256} --flake 'git+file:///srv/clinics?rev={head}#fails'"
    told = end_of(order(f"activate-system {new} {options}", "--max-runtime 2h"), timeout=120)
    expect(told, "failed: not_realised")
    assert "could not be built" in told["detail"], told
    assert [(step["name"], step["result"]) for step in told["actions"]][-1] == ("build", "failed"), told["actions"]
    assert running() == (old, old) and deadmen() == "", (running(), deadmen())

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
