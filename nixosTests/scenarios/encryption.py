# Scenario 11: a volume that must be encrypted is not there, then is, then stands on a plain disk.

box.start()
box.succeed(
    "printf secret >/root/volume.key",
    "cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vdb /root/volume.key",
    "cryptsetup open /dev/vdb records --key-file /root/volume.key",
    "mkfs.ext4 -q /dev/mapper/records",
    "mkdir -p /srv/records",
    "mount /dev/mapper/records /srv/records",
)
set_up(BASELINE.replace('not_applicable = "this scenario is about something else"', 'mounts = ["/srv/records"]'))
assert states()["encryption"] == "compliant", states()


def drift(actual):
    """Waits for the alert that tells this, and that nothing was done about it."""
    told = await_evidence(actual, lambda one: one["check"] == "encryption" and one["outcome"] == "alert", since)
    assert told["findings"][0]["subject"] == "/srv/records" and actual in told["findings"][0]["actual"], told
    assert told["actions"] == [] and told["state"] == "drifted", told


with subtest("A volume that is not mounted is told"):
    since = newest()
    box.succeed("umount /srv/records", "cryptsetup close records")
    drift("nothing is mounted")

with subtest("Opened, it is compliant again"):
    since = newest()
    box.succeed("cryptsetup open /dev/vdb records --key-file /root/volume.key", "mount /dev/mapper/records /srv/records")
    await_evidence("compliance", lambda one: one["check"] == "encryption" and one["outcome"] == "success", since)
    assert states()["encryption"] == "compliant", states()

with subtest("A plain disk in its place is told"):
    since = newest()
    box.succeed("umount /srv/records", "cryptsetup close records", "mkfs.ext4 -q -F /dev/vdb", "mount /dev/vdb /srv/records")
    await_evidence("a plain disk", lambda one: one["check"] == "encryption" and one["outcome"] == "alert", since)
    wait_for("the finding", lambda: "without encryption" in json.dumps(status()["checks"]))
    prove()
