//! What the checks cost on this machine: each alone and all six as a round, cold and warm, beside the same
//! six as a shell script. `cargo bench -p compliance-checks --bench round`
//!
//! What cannot be seen here is timed as well: the last column says what the check came to. Links as NixOS has
//! them are in a folder, if this is no NixOS; `round/machine` gives it systemd, journald and a ruleset.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs
)]
#![allow(clippy::disallowed_methods)] // It measures time, waits, and runs a shell script.

#[path = "round/counted.rs"]
mod counted;
#[path = "round/nixos.rs"]
mod nixos;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compliance_checks::baseline::Baseline;
use compliance_checks::{
    Check, Checks, Circumstances, Host, Report, backups, encryption, firewall, logging, patching,
    services,
};
use compliance_protocol::clock::{ClockSource, TrustedNow};
use compliance_protocol::digest::Digest;
use compliance_protocol::time::Span;
use counted::Counted;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::Serialize;
use serde_json::{Value, json};

const COLD: usize = 20;
const WARM: usize = 200;
const LIMIT: Duration = Duration::from_mins(1);

type Make = fn() -> Box<dyn Check>;

const CHECKS: [(&str, Make); 6] = [
    ("patching", || Box::new(patching::Patching)),
    ("services", || Box::new(services::Services::default())),
    ("backups", || Box::new(backups::Backups::default())),
    ("firewall", || Box::new(firewall::Firewall::default())),
    ("logging", || Box::new(logging::Logging::default())),
    ("encryption", || Box::new(encryption::Encryption::default())),
];

fn main() {
    let folder = tempfile::tempdir().unwrap();
    back_up(folder.path());
    if !Path::new("/run/current-system").exists() {
        nixos::install(folder.path());
    }
    // A file that is younger than that is read again in each round.
    std::thread::sleep(Duration::from_millis(2100));
    let baseline = capture(folder.path());
    println!("{:<24}{:>10}{:>10}{:>10}", "median of each run", "wall µs", "CPU µs", "children");
    for (name, make) in CHECKS {
        let cold = measure(
            COLD,
            || (make(), Counted::default()),
            |(check, host)| {
                ask(check.as_mut(), host, &baseline);
            },
        );
        let mut warm = (make(), Counted::default());
        let came_to = ask(warm.0.as_mut(), &warm.1, &baseline);
        let warm = measure(WARM, || (), |()| drop(ask(warm.0.as_mut(), &warm.1, &baseline)));
        println!("{name:<15}cold     {cold}");
        println!("{name:<15}warm     {warm}   {}", shown(&came_to));
    }
    let baseline = Arc::new(baseline);
    let round = |(checks, host): &mut (Checks, Arc<dyn Host>)| {
        drop(checks.round(host, Ok(&baseline), &about(0), LIMIT));
    };
    let fresh = || (Checks::default(), Arc::new(Counted::default()) as Arc<dyn Host>);
    let cold = measure(COLD, fresh, round);
    println!("{:<15}cold     {cold}", "round");
    let mut kept = fresh();
    round(&mut kept);
    let warm = measure(WARM, || (), |()| round(&mut kept));
    println!("{:<15}warm     {warm}", "round");
    println!("{:<15}an hour  {}", "round", hour(&baseline));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/round/six.sh");
    let shell = measure(
        COLD,
        || (),
        |()| {
            let mut command = std::process::Command::new("/bin/sh");
            command.arg(&script).arg(folder.path()).output().unwrap();
        },
    );
    println!("{:<15}script   {shell}", "sh");
}

/// Rounds of an hour at full rate, as means.
fn hour(baseline: &Arc<Baseline>) -> Cost {
    const ROUNDS: u32 = 240;
    let mut checks = Checks::default();
    let host: Arc<dyn Host> = Arc::new(Counted::default());
    let started = counted::total();
    let before = (Instant::now(), cpu());
    for round in 0..ROUNDS {
        let about = about(i64::from(round) * 15);
        drop(checks.round(&host, Ok(baseline), &about, LIMIT));
    }
    let children =
        f64::from(u32::try_from(counted::total() - started).unwrap()) / f64::from(ROUNDS);
    Cost {
        wall: before.0.elapsed() / ROUNDS,
        cpu: cpu().saturating_sub(before.1) / ROUNDS,
        children,
    }
}

struct Cost {
    wall: Duration,
    cpu: Duration,
    children: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let us = |duration: Duration| duration.as_secs_f64() * 1e6;
        write!(f, "{:>10.0}{:>10.0}{:>10.2}", us(self.wall), us(self.cpu), self.children)
    }
}

/// The medians of `times` runs, each on what `make` makes. CPU includes threads and children.
fn measure<T>(times: usize, make: impl Fn() -> T, mut run: impl FnMut(&mut T)) -> Cost {
    let mut costs: Vec<_> = (0..times)
        .map(|_| {
            let mut subject = make();
            let (children, before) = (counted::total(), (Instant::now(), cpu()));
            run(&mut subject);
            (before.0.elapsed(), cpu().saturating_sub(before.1), counted::total() - children)
        })
        .collect();
    let children = costs.iter().map(|cost| cost.2).max().unwrap();
    let mut median = |pick: fn(&(Duration, Duration, usize)) -> Duration| {
        costs.sort_by_key(pick);
        pick(&costs[times / 2])
    };
    let (wall, cpu) = (median(|cost| cost.0), median(|cost| cost.1));
    Cost { wall, cpu, children: f64::from(u32::try_from(children).unwrap()) }
}

fn cpu() -> Duration {
    let of = |usage: Usage| {
        let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(u64::try_from(us).unwrap())
    };
    let usage = |who| of(getrusage(who).unwrap());
    usage(UsageWho::RUSAGE_SELF) + usage(UsageWho::RUSAGE_CHILDREN)
}

fn ask(check: &mut dyn Check, host: &Counted, baseline: &Baseline) -> Report {
    check.run(host, baseline, &about(0))
}

fn about(uptime_s: i64) -> Circumstances {
    Circumstances {
        now: TrustedNow::Known { at: compliance_clock::wall(), source: ClockSource::Kernel },
        uptime: Span::from_secs(100_000 + uptime_s),
        expected_system: None,
        nonce: [7; 16],
    }
}

fn shown(report: &Report) -> String {
    let why: String = report.verdict.why().chars().take(60).collect();
    format!("{:?} {why}", report.verdict.state()).trim_end().to_owned()
}

/// An archive of 1 MiB and its status.
fn back_up(folder: &Path) {
    let archive = folder.join("records.tar");
    std::fs::write(&archive, vec![7; 1024 * 1024]).unwrap();
    let status = json!({
        "finished_at": compliance_clock::wall(),
        "artefact": archive,
        "bytes": 1024 * 1024,
        "sha256": Digest::of(&vec![7; 1024 * 1024]),
    });
    std::fs::write(folder.join("records.json"), status.to_string()).unwrap();
}

/// The baseline of this machine; what cannot be captured here is asked for nevertheless.
fn capture(folder: &Path) -> Baseline {
    let host = Counted::default();
    let firewall = json!({ "sha256": "0".repeat(64), "ruleset": "", "tables": {} });
    let parts = json!({
        "version": 1,
        "tenant": "acme",
        "site": "clinic-042",
        "bound_to": { "machine_id_sha256": "0".repeat(64) },
        "patching": {},
        "services": part(services::capture(&host).expected, json!({ "units": [{ "unit": "cron.service" }] })),
        "backups": { "jobs": [{
            "name": "records",
            "status_file": folder.join("records.json"),
            "run": { "unit": "backup-records.service" },
        }] },
        "firewall": part(firewall::capture(&host).expected, firewall),
        "logging": part(logging::capture(&host).expected, json!({})),
        "encryption": part(encryption::capture(&host).expected, json!({ "mounts": ["/"] })),
    });
    serde_json::from_value(parts).unwrap()
}

fn part<T: Serialize, E>(captured: Result<T, E>, else_: Value) -> Value {
    captured.map_or(else_, |captured| serde_json::to_value(captured).unwrap())
}
