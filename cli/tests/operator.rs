//! The operator's commands, against a control plane with one appliance that the demonstration keeps
//! running.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use compliance_pki::{Authority, SITE_LIFE};
use compliance_protocol::time::Span;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::compliancectl;
use tempfile::TempDir;

mod support;

/// A demonstration that has ended and keeps its processes.
struct Kept {
    temp: TempDir,
    child: Child,
}

impl Kept {
    fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut demo = Command::new(compliancectl());
        demo.args(["demo", "--keep", "--json", "--dir"]).arg(temp.path().join("demo"));
        let mut child = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        // The document ends long before the process does.
        let mut documents = serde_json::Deserializer::from_reader(stdout).into_iter::<Value>();
        let told = documents.next().unwrap().unwrap();
        assert_eq!(told["verdict"], "holds", "{told:#}");
        Self { temp, child }
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("demo")
    }

    /// Runs a command with the demonstration's configuration: exit code and document.
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = Command::new(compliancectl())
            .args(["--json", "--config", "compliancectl.toml"])
            .args(arguments)
            .current_dir(self.dir())
            .output()
            .unwrap();
        let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code(), document)
    }

    fn holds(&self, arguments: &[&str]) -> Value {
        let (code, document) = self.ask(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {document:#}");
        document
    }

    /// Ends it as Ctrl-C does; its exit code.
    fn interrupt(mut self) -> Option<i32> {
        let id = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(id, Signal::SIGINT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap());
        if matches!(self.child.try_wait(), Ok(None)) {
            // Not SIGKILL, which would leave its processes without anybody to stop them.
            let _ = kill(id, Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

fn numbers(list: &Value, field: &str) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|entry| entry[field].as_u64().unwrap()).collect()
}

#[test]
fn every_command_of_the_operator_works_on_a_running_fleet() {
    let kept = Kept::start();
    sites(&kept);
    orders(&kept);
    evidence(&kept);
    certificates(&kept);
    assert_eq!(kept.interrupt(), Some(0));
}

fn sites(kept: &Kept) {
    for command in [&["fleet"][..], &["sites"], &["site", "list"]] {
        let sites = kept.holds(command);
        assert_eq!(sites["sites"][0]["site"], "clinic-042", "{command:?}");
        assert_eq!(sites["sites"][0]["gaps"], serde_json::json!([]));
    }
    let (code, status) = kept.ask(&["status", "clinic-042"]);
    assert_eq!(status["states"]["backups"]["state"], "compliant");
    let unknown =
        status["states"].as_object().unwrap().values().any(|check| check["state"] == "unknown");
    assert_eq!(code, Some(i32::from(unknown)), "unknown is not compliant: {status:#}");
    assert_eq!(kept.ask(&["status", "clinic-007"]).0, Some(2));
    let other = ["site", "register", "clinic-007", "--trust", "site/trust.dsse.json"];
    assert_eq!(kept.ask(&other).0, Some(2), "another site's trust file");
}

/// The appliance asks for a new certificate in the last month of its own, the operator answers, the appliance
/// fetches it.
fn certificates(kept: &Kept) {
    let renew = || {
        let mut agent = Command::new(compliancectl().with_file_name("compliance-agent"));
        agent.args(["renew", "--config", "site/agent.toml"]);
        agent.args(["--request", "site/data/tls.csr", "--into", "site/new.pem"]);
        let output = agent.current_dir(kept.dir()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let answer =
        ["site", "renew", "clinic-042", "--enrolled", "filed", "--authority", "mcp/offline"];
    assert!(renew().contains("good for longer than 30 days"));
    assert_eq!(kept.ask(&answer).0, Some(2), "nobody asks");

    let file = |name: &str| kept.dir().join(name);
    let text = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let offline = Authority::from_pem(&text("mcp/offline/ca.pem"), &text("mcp/offline/ca.key"));
    let a_year_less_a_week = SITE_LIFE.as_millis() - Span::from_hours(7 * 24).as_millis();
    let then = compliance_clock::wall().plus(Span::from_millis(-a_year_less_a_week));
    let (request, before) = (text("site/data/tls.csr"), text("site/tls.pem"));
    let ending = offline.unwrap().renew_site(&request, &before, [7; 16], then).unwrap();
    std::fs::create_dir(file("filed")).unwrap();
    for place in ["site/tls.pem", "filed/tls.pem"] {
        std::fs::write(file(place), &ending).unwrap();
    }

    // What was fetched once, before an enrolment perhaps, is not offered for ever.
    std::fs::write(file("site/new.pem"), &before).unwrap();
    assert!(renew().contains("is asked for"));
    assert!(!file("site/new.pem").exists());
    kept.holds(&answer);
    assert!(renew().contains("is there"));
    let new = text("site/new.pem");
    assert_eq!(new, text("filed/tls.pem"), "the operator's copy is the new one, too");
    assert_ne!(new, ending);
    std::fs::write(file("site/tls.pem"), new).unwrap();
    assert!(renew().contains("good for longer than 30 days"));
    assert!(!file("site/new.pem").exists());
}

fn orders(kept: &Kept) {
    let waiting = kept.holds(&["order", "show", "clinic-042", "6"]);
    assert_eq!(waiting["payload"]["action"]["type"], "restart_service");
    kept.holds(&["order", "withdraw", "clinic-042", "6"]);
    assert_eq!(kept.holds(&["order", "show", "clinic-042", "6"])["state"], "withdrawn");

    let sign = ["order", "sign", "--key", "keys/orders.key", "--site", "clinic-042"];
    let signed = kept.holds(&[&sign[..], &["--out", "o.json", "run-checks"]].concat());
    assert_eq!(signed["order"]["sequence"], 7);
    kept.holds(&["order", "push", "o.json"]);
    assert_eq!(kept.ask(&["order", "push", "o.json"]).0, Some(2), "its sequence is taken");
    let orders = kept.holds(&["order", "list", "--site", "clinic-042"]);
    let mut sequences = numbers(&orders["orders"], "sequence");
    sequences.sort_unstable();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6, 7]);
    kept.holds(&["verify", "o.json", "--trust", "site/trust.dsse.json"]);
    kept.holds(&["verify", "o.json", "--key", "keys/orders.pub"]);
    assert_eq!(kept.ask(&["verify", "o.json", "--key", "keys/baseline.pub"]).0, Some(1));

    let offline = ["--trust", "site/trust.dsse.json", "--sequence", "9"];
    let without = kept.ask(&[&sign[..], &offline, &["run-checks"]].concat());
    assert_eq!(without.0, Some(2), "what is before order 9 is not said");
}

fn evidence(kept: &Kept) {
    let listed = kept.holds(&["evidence", "list", "--site", "clinic-042"]);
    let sequences = numbers(&listed, "sequence");
    assert!(sequences.len() > 20 && sequences.is_sorted(), "{sequences:?}");
    let shown = kept.holds(&["evidence", "show", "clinic-042", "1"]);
    assert_eq!(shown["bundle"]["sequence"], 1);
    assert!(shown["receipt"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1\n"));
    assert_eq!(kept.ask(&["evidence", "show", "clinic-042", "99999"]).0, Some(2));

    let exported = kept.holds(&["evidence", "export", "held", "--site", "clinic-042"]);
    assert_eq!(exported["bundles"], exported["receipts"]);
    let verified = kept.holds(&["verify", "held", "--trust", "site/trust.dsse.json"]);
    assert_eq!(verified["bundles"], exported["bundles"]);
    assert_eq!(verified["tail"], "not_checked");
    // More may have come before the export, and more after it: its head is the last that it holds.
    let listed = kept.holds(&["evidence", "list", "--site", "clinic-042"]);
    let is_last = |entry: &&Value| entry["sequence"] == exported["bundles"];
    let head = listed.as_array().unwrap().iter().find(is_last).unwrap();
    let head = format!("{}:{}", head["sequence"], head["sha256"].as_str().unwrap());
    let trusted = ["verify", "held", "--trust", "site/trust.dsse.json"];
    let verified = kept.holds(&[&trusted[..], &["--head", &head]].concat());
    assert_eq!(verified["tail"], "checked");
    let other = format!("1{head}");
    assert_eq!(kept.ask(&[&trusted[..], &["--head", &other]].concat()).0, Some(1));
    let without_log_key = kept.ask(&["verify", "held", "--key", "site/data/evidence.pub"]);
    assert_eq!(without_log_key.0, Some(2), "nobody looked at the receipts");
    assert!(same_where_both_have(&kept.dir().join("held"), &kept.dir().join("evidence")) > 20);
}

/// How many bundles lie in both exports; those are the same to the byte, whoever exported them.
fn same_where_both_have(held: &Path, own: &Path) -> usize {
    let mut folder = PathBuf::new();
    for _ in 0..3 {
        let below = std::fs::read_dir(own.join(&folder)).unwrap().flatten();
        let below =
            below.filter(|entry| entry.path().is_dir()).max_by_key(std::fs::DirEntry::file_name);
        folder.push(below.unwrap().file_name());
    }
    let names = std::fs::read_dir(own.join(&folder)).unwrap().flatten().map(|e| e.file_name());
    let signed = names.filter(|name| !name.to_str().unwrap().ends_with(".tlog-proof"));
    let same = signed.filter(|name| {
        let read = |top: &Path| std::fs::read(top.join(&folder).join(name)).unwrap();
        read(held) == read(own)
    });
    same.count()
}
