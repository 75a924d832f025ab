//! A machine that was booted for one test: systemd as its first process, a real Nix, systems built from the
//! flake beside this file, and the executor as a unit of the system that runs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Once;
use std::time::{Duration, Instant};

use compliance_checks::baseline::Baseline;
use compliance_checks::baseline::Section;
use compliance_checks::services::{CriticalUnit, ServicesBaseline};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::Envelope;
use compliance_protocol::evidence::Bundle;
use compliance_protocol::local::{Answer, Request};
use compliance_protocol::status::Status;
use compliance_testkit::OrderForm;
use serde_json::{Value, json};

use crate::site::{Courier, Site};

/// Only a machine that was made for these tests has it.
const MARKER: &str = "/etc/compliance-test-machine";

/// The longest that anything here takes: a dead-man's patience, and its way back.
const PATIENCE: Duration = Duration::from_secs(200);

const CURRENT: &str = "/run/current-system";
pub(crate) const PROFILE: &str = "/nix/var/nix/profiles/system";
const NIX: &str = "/usr/bin/nix";
const FLAKE: &str = "/etc/toy";

/// Nearly as short as the dead-man's margin allows. The room for kernels is in memory, so it is not asked for much.
const ACTIVATION: &str = "
[heal]
backups = 'order'
services = 'order'

[activation]
systemctl = '/usr/local/bin/systemctl'
systemd_run = '/usr/bin/systemd-run'
nix_store = '/usr/bin/nix-store'
nix_env = '/usr/bin/nix-env'
nix = '/usr/bin/nix'
helper = '@helper@'
probes = ['probe.service']
roots = '/var/lib/compliance-roots'
boot = '/boot'
boot_loader = { type = 'systemd-boot', bootctl = '/usr/local/bin/bootctl' }
profile = '/nix/var/nix/profiles/system'
folder = '/run/compliance'
source = 'store-path-or-flake'

[activation.limits]
switch_s = 10
settle_s = 2
soak_s = 6
deadman_s = 100
looks = 2
heads = 2
";

/// The store is this machine's alone. What is not there comes from a server on it, if somebody signed it whom this
/// machine knows.
const NIX_CONF: &str = "
experimental-features = nix-command flakes
sandbox = false
build-users-group =
substituters = http://127.0.0.1:8099
trusted-public-keys =";

/// `bootctl` takes a folder in memory for what a boot loader reads; and where there is no firmware, it writes
/// the firmware's variable to a file of the same name and form.
const BOOTCTL: &str = "#!/bin/sh
variable=/sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
if [ $1 = set-oneshot ]; then
    [ -n \"$2\" ] || exec rm -f $variable
    { printf '\\7\\0\\0\\0'; printf '%s\\0' \"$2\" | iconv -f ascii -t utf-16le; } >$variable
    exit
fi
SYSTEMD_RELAX_ESP_CHECKS=1 exec /usr/bin/bootctl \"$@\"
";

/// `systemctl` does not restart a machine that is made for one boot, and says that it was told to.
const SYSTEMCTL: &str = "#!/bin/sh
[ \"$1\" = reboot ] && exec touch /run/told-to-reboot
exec /usr/bin/systemctl \"$@\"
";

/// The machine, with the system `one` running.
pub(crate) struct Machine {
    site: Site,
}

/// Runs `body` on the machine; elsewhere it says that it does not.
pub(crate) fn on_the_machine(body: impl FnOnce(&mut Machine)) {
    static SAID: Once = Once::new();
    if !Path::new(MARKER).exists() {
        // Not by a macro: the harness would keep it to itself.
        let line = "skipped: what needs a machine of its own; .ci/nix runs it on one";
        SAID.call_once(|| drop(writeln!(std::io::stderr(), "{line}")));
        return;
    }
    body(&mut Machine::boot());
}

impl Machine {
    fn boot() -> Self {
        fs::create_dir_all("/etc/nix").unwrap();
        fs::write("/etc/nix/nix.conf", NIX_CONF).unwrap();
        for (name, text) in [("bootctl", BOOTCTL), ("systemctl", SYSTEMCTL)] {
            let path = Path::new("/usr/local/bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        commit_flake();
        start_nix_daemon();
        let site = Site::new();
        let opens = &compliance_clock::wall().to_string()[11..13];
        let helper = in_store(env!("CARGO_BIN_EXE_compliance-executor"));
        let activation = ACTIVATION.replace("@helper@", &helper);
        let config = site.config(0).replace("[heal]\nbackups = 'order'\n", &activation)
            + &format!("[[window]]\nstart = '{opens}:00'\nlength_min = 1440\nzone = 'UTC'\n");
        site.write("executor.toml", config.as_bytes());
        let mut baseline = site.baseline();
        let toy = CriticalUnit::new("toy.service".parse().unwrap());
        baseline.services = Section::Expected(ServicesBaseline::new(vec![toy]));
        site.write_baseline(&baseline);
        symlink(site.dir.path(), "/etc/compliance").unwrap();
        symlink(env!("CARGO_BIN_EXE_compliance-executor"), "/usr/local/bin/compliance-executor")
            .unwrap();
        let machine = Self { site };
        let one = build("one");
        symlink(&one, CURRENT).unwrap();
        symlink(&one, "/run/booted-system").unwrap();
        run("/usr/bin/nix-env", &["-p", PROFILE, "--set", &one]);
        run(&format!("{one}/bin/switch-to-configuration"), &["switch"]);
        machine.wait_until("the first feed head", Self::poll);
        machine
    }

    /// An order to activate what is at `path`.
    pub(crate) fn activate(&self, path: &str) -> Value {
        let printed = run(NIX, &["path-info", "--json", path]).stdout;
        let info: Value = serde_json::from_slice(&printed).unwrap();
        json!({
            "type": "activate_system",
            "store_path": path,
            "nar_hash": info[path]["narHash"],
            "baseline_sha256": self.baseline_sha256(),
        })
    }

    /// The digest of the baseline in force, which is bound to the machine.
    fn baseline_sha256(&self) -> Digest {
        let envelope =
            Envelope::parse(&fs::read(self.site.path("baseline.dsse.json")).unwrap()).unwrap();
        let keys = self.site.plane.trust.roles.baseline.clone();
        envelope.open::<Baseline>(&keys).unwrap().payload_sha256()
    }

    /// The control plane issues an order.
    pub(crate) fn issue(&mut self, action: &Value) -> OrderForm {
        self.site.issue_action(action)
    }

    /// Orders `action` and gives the evidence of its end.
    pub(crate) fn order(&mut self, action: &Value) -> Bundle {
        let form = self.issue(action);
        self.end_of(&form)
    }

    /// Orders that this system, built before, is activated, and gives the evidence of its end.
    pub(crate) fn order_system(&mut self, system: &str) -> Bundle {
        let path = build(system);
        let action = self.activate(&path);
        self.order(&action)
    }

    /// The evidence of the order's end; the courier polls until then.
    pub(crate) fn end_of(&self, form: &OrderForm) -> Bundle {
        let ends = self.told(form, "its end", |bundle| bundle.outcome.is_terminal());
        assert_eq!(ends.len(), 1, "one terminal outcome: {ends:#?}");
        ends.into_iter().next().unwrap()
    }

    /// The first evidence that the order waits.
    pub(crate) fn deferral_of(&self, form: &OrderForm) -> Bundle {
        let held = self.told(form, "a deferral", |bundle| !bundle.outcome.is_terminal());
        held.into_iter().next().unwrap()
    }

    fn told(&self, form: &OrderForm, what: &str, like: impl Fn(&Bundle) -> bool) -> Vec<Bundle> {
        let sha256 = Some(form.sha256());
        self.wait_until(what, |machine| {
            machine.poll();
            let all = machine.site.evidence().into_iter();
            let found: Vec<_> =
                all.filter(|it| it.trigger.order_sha256 == sha256 && like(it)).collect();
            (!found.is_empty()).then_some(found)
        })
    }

    /// Polls once, if the executor answers: a switch restarts it.
    pub(crate) fn poll(&self) -> Option<()> {
        let mut courier = self.courier()?;
        let Ok(Answer::Ticket { ticket }) = courier.try_ask(&Request::Ticket {}) else {
            return None;
        };
        let answer = self.site.plane.answer(&ticket, compliance_clock::wall());
        matches!(courier.try_ask(&answer), Ok(Answer::Feed { fresh: true, .. })).then_some(())
    }

    fn courier(&self) -> Option<Courier> {
        Courier::try_connect(&self.site.path("socket")).ok()
    }

    /// What the executor says of itself, if it answers.
    pub(crate) fn status(&self) -> Option<Status> {
        match self.courier()?.try_ask(&Request::Status {}) {
            Ok(Answer::Status { status }) => Some(*status),
            _ => None,
        }
    }

    /// Waits until `wanted` is there.
    pub(crate) fn wait_until<T>(
        &self,
        what: &str,
        mut wanted: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(found) = wanted(self) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("{what} did not happen within {PATIENCE:?}: {:#?}", self.status())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = run("/usr/bin/journalctl", &["--no-pager", "--no-hostname", "-n", "400"]);
            println!("{}", String::from_utf8_lossy(&journal.stdout));
            for bundle in self.site.evidence() {
                println!("{:?} {}: {}", bundle.outcome, bundle.reason, bundle.detail);
            }
        }
    }
}

/// Which path this system has, before it is built.
pub(crate) fn path_of(system: &str) -> String {
    let output = format!("{}.outPath", flake_output(system));
    String::from_utf8(run(NIX, &["eval", "--raw", &output]).stdout).unwrap()
}

/// Which derivation builds this system; nothing is built.
pub(crate) fn derivation_of(system: &str) -> String {
    let output = format!("{}.drvPath", flake_output(system));
    String::from_utf8(run(NIX, &["eval", "--raw", &output]).stdout).unwrap()
}

/// Builds this system, beside the executor, and gives its path.
pub(crate) fn build(system: &str) -> String {
    let printed = run(NIX, &["build", "--no-link", "--print-out-paths", &flake_output(system)]);
    String::from_utf8(printed.stdout).unwrap().trim().to_owned()
}

/// The flake's output for this system, pinned.
fn flake_output(system: &str) -> String {
    format!("{}#nixosConfigurations.{system}.config.system.build.toplevel", pinned_flake())
}

/// What runs, what the profile names, what boots, and whose unit is active.
fn systems() -> [String; 4] {
    let named = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.split_once("nixos-system-").unwrap().1.to_owned()
    };
    let unit = run("/usr/bin/systemctl", &["show", "-P", "Environment", "toy.service"]).stdout;
    let unit = String::from_utf8(unit).unwrap().trim().replace("SYSTEM=", "");
    let state = run("/usr/bin/systemctl", &["show", "-P", "ActiveState", "toy.service"]).stdout;
    assert_eq!(state, b"active\n", "the unit of {unit}");
    [
        named(&fs::canonicalize(CURRENT).unwrap()),
        named(&fs::canonicalize(PROFILE).unwrap()),
        named(Path::new(&boots())),
        unit,
    ]
}

/// Asserts that `system` runs, is what the profile names, and boots; and that nothing is left to undo it.
pub(crate) fn assert_all_is(system: &str) {
    assert_eq!(systems(), [system; 4].map(str::to_owned));
    let pattern = ["list-units", "--all", "--plain", "--no-legend", "compliance-deadman-*"];
    let deadmen = run("/usr/bin/systemctl", &pattern).stdout;
    assert_eq!(String::from_utf8(deadmen).unwrap(), "", "no dead-man is left");
}

/// Firmware whose boot loader can try a system once, as far as its variables say.
pub(crate) fn has_firmware() {
    run("/usr/bin/mount", &["-t", "tmpfs", "tmpfs", "/sys/firmware"]);
    fs::create_dir_all("/sys/firmware/efi/efivars").unwrap();
    let features = [7, 0, 0, 0].into_iter().chain((1_u64 << 3).to_le_bytes()).collect::<Vec<_>>();
    fs::write(variable("LoaderFeatures"), features).unwrap();
}

/// The file of a variable of the boot loader.
fn variable(name: &str) -> String {
    format!("/sys/firmware/efi/efivars/{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
}

/// The system that is tried at the next boot.
pub(crate) fn tried_next() -> String {
    let value = fs::read(variable("LoaderEntryOneShot")).unwrap();
    let name: String =
        value[4..].iter().filter(|byte| **byte != 0).map(|b| char::from(*b)).collect();
    booted_by(&name)
}

/// Whether the switch to another system has begun.
pub(crate) fn switch_has_begun() -> bool {
    fs::read_to_string("/run/nixos/verbs").unwrap_or_default().ends_with("test\n")
}

/// The executor's process.
pub(crate) fn executor() -> String {
    let shown =
        run("/usr/bin/systemctl", &["show", "-P", "MainPID", "compliance-executor.service"]);
    String::from_utf8(shown.stdout).unwrap().trim().to_owned()
}

/// What the boot loader starts by default, as its files say.
fn boots() -> String {
    let config = fs::read_to_string("/boot/loader/loader.conf").unwrap();
    let default = config.trim().strip_prefix("default ").unwrap();
    booted_by(default)
}

/// The system of this entry.
fn booted_by(entry: &str) -> String {
    let entry = fs::read_to_string(Path::new("/boot/loader/entries").join(entry)).unwrap();
    let init = entry.split_ascii_whitespace().find_map(|word| word.strip_prefix("init="));
    init.unwrap().strip_suffix("/init").unwrap().to_owned()
}

/// The daemon that Nix asks, started when it is asked, as on NixOS. Debian's package has it without units.
const DAEMON: &str = "[Service]\nExecStart=/usr/bin/nix-daemon\n";
const SOCKET: &str = "[Socket]\nListenStream=/nix/var/nix/daemon-socket/socket\n";

fn start_nix_daemon() {
    fs::write("/run/systemd/system/nix-daemon.service", DAEMON).unwrap();
    fs::write("/run/systemd/system/nix-daemon.socket", SOCKET).unwrap();
    run("/usr/bin/systemctl", &["start", "nix-daemon.socket"]);
    // The flake is root's, and somebody else is to read it.
    run("/usr/bin/git", &["config", "--system", "--add", "safe.directory", "*"]);
}

fn commit_flake() {
    fs::create_dir(FLAKE).unwrap();
    for (name, text) in [
        ("flake.nix", include_str!("flake/flake.nix")),
        ("build.sh", include_str!("flake/build.sh")),
        ("switch-to-configuration.sh", include_str!("flake/switch-to-configuration.sh")),
    ] {
        fs::write(Path::new(FLAKE).join(name), text).unwrap();
    }
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    let who = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    git(&[&who[..], &["commit", "--quiet", "--message", "Systems"]].concat());
}

/// The flake at its commit.
pub(crate) fn pinned_flake() -> String {
    let head = git(&["rev-parse", "HEAD"]).stdout;
    format!("git+file://{FLAKE}?rev={}", String::from_utf8(head).unwrap().trim())
}

fn git(arguments: &[&str]) -> Output {
    run("/usr/bin/git", &[&["-C", FLAKE], arguments].concat())
}

/// Nix on the machine is configured so, too: `trusted-public-keys` is what the usual configuration ends with.
pub(crate) fn configure_nix(more: &str) {
    fs::write("/etc/nix/nix.conf", format!("{NIX_CONF} {more}\n")).unwrap();
    run("/usr/bin/systemctl", &["stop", "nix-daemon.service"]);
}

/// Puts a program into the store, and gives its path there.
fn in_store(program: &str) -> String {
    String::from_utf8(run("/usr/bin/nix-store", &["--add", program]).stdout)
        .unwrap()
        .trim()
        .to_owned()
}

/// Somebody at the machine does this as `nixos-rebuild` does, and does not wait for it.
pub(crate) fn by_hand(argv: &[&str]) {
    let unit = ["--unit=nixos-rebuild-switch-to-configuration", "--service-type=exec", "--collect"];
    run("/usr/bin/systemd-run", &[&unit, argv].concat());
}

/// Runs a program to its good end.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output
}
