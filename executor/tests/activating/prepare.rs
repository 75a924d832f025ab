//! Before anything is done to the running system: what is fetched, who signed it, whether there is room, what is
//! kept, and what the probes say.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use compliance_checks::command::Command;

use super::*;

/// What `nix-store --query --hash` says of the target, as in the order.
pub(crate) const HASH: &str = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";

const GLIBC: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-glibc";
const NGINX: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nginx";

/// The systems that `nix-store --query --requisites` is asked about.
pub(crate) fn systems_of(arguments: &[String]) -> String {
    let systems = arguments.iter().filter(|argument| argument.starts_with("/nix/store/"));
    systems.cloned().collect::<Vec<_>>().join("\n") + "\n"
}

/// A site on which `nix-store` answers so where `answer` has one.
fn site_where(answer: impl Fn(&[String]) -> Option<Output> + Send + 'static) -> Site {
    let site = Site::new();
    let mut usual = site.rig.host.take_deed("/old/nix-store");
    site.rig.host.install_deed(
        "/old/nix-store",
        Box::new(move |host, arguments| {
            answer(arguments).map_or_else(|| usual(host, arguments), Ok)
        }),
    );
    site
}

fn has(arguments: &[String], word: &str) -> bool {
    arguments.iter().any(|argument| argument == word)
}

fn argv(command: &Command) -> Vec<String> {
    command.argv.clone().into()
}

fn runs_with<'a>(commands: &'a [Command], word: &str) -> Vec<&'a Command> {
    commands.iter().filter(|command| has(&argv(command), word)).collect()
}

/// What the store would have to fetch.
fn fetches(size: &'static str) -> Site {
    site_where(move |arguments| {
        let line = format!("these 3 paths will be fetched (1.00 MiB download, {size} unpacked):\n");
        has(arguments, "--dry-run").then(|| Output { stderr: line.into(), ..said("") })
    })
}

#[test]
fn whatever_is_done_to_the_store_is_done_by_its_daemon_and_nothing_is_built() {
    let mut site = Site::new();
    site.order(activate(1));
    site.minutes(4);
    let commands = site.rig.host.commands();
    let nix = commands.iter().map(argv).filter(|argv| argv[0].starts_with("/old/nix"));
    let nix: Vec<_> = nix.collect();
    assert!(nix.len() > 5, "{nix:?}");
    for argv in nix {
        let store = argv.iter().position(|part| part == "--store").unwrap();
        assert_eq!(argv[store + 1], "daemon", "{argv:?}");
    }
    let realise = runs_with(&commands, "--add-root");
    assert_eq!(realise.len(), 2, "the next one and the one that runs");
    for argv in realise.into_iter().map(argv) {
        let text = argv.join(" ");
        assert!(text.contains("--max-jobs 0") && text.contains("--option builders  "), "{text}");
        assert!(text.contains("--quiet"), "a line for each path would not fit: {text}");
    }
}

#[test]
fn nothing_runs_of_a_system_that_brings_what_nobody_known_signed() {
    let mut site = Site::new();
    site.rig
        .host
        .install_deed("/old/nix", Box::new(|_, _| Ok(Output { code: Some(2), ..said("") })));
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "not_signed")]);
    assert_eq!(ran(&site, "/bin/switch-to-configuration"), 0);
    let detail = site.last(&form).detail;
    assert!(detail.contains(NEXT) && detail.contains("nix store verify"), "{detail}");
}

#[test]
fn what_an_earlier_system_of_this_machine_had_already_needs_no_signature() {
    let mut site = site_where(|arguments| {
        let of = |path: &str| has(arguments, path);
        has(arguments, "--requisites").then(|| {
            said(match (of(NEXT), of("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-older")) {
                (true, _) => format!("{GLIBC}\n{NGINX}\n{NEXT}\n"),
                (false, true) => format!("{GLIBC}\n{OLD}\n"),
                (false, false) => panic!("{arguments:?}"),
            })
        })
    });
    let older = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-older";
    site.rig.host.link(&format!("{PROFILE}-7-link"), older, T0);
    site.order(activate(1));
    let commands = site.rig.host.commands();
    let verified = runs_with(&commands, "verify");
    assert_eq!(verified.len(), 1);
    assert_eq!(verified[0].input, format!("{NEXT}\n{NGINX}").into_bytes());
}

#[test]
fn when_the_store_does_not_say_what_a_system_brings_it_counts_as_unsigned() {
    let mut site = site_where(|arguments| {
        has(arguments, "--requisites").then(|| Output { code: Some(1), ..said("") })
    });
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "not_signed")]);
}

#[test]
fn without_a_root_for_what_runs_nothing_is_begun() {
    let mut site = site_where(|arguments| {
        let previous = arguments.iter().any(|argument| argument.ends_with("gcroots/previous"));
        previous.then(|| Output { code: Some(1), ..said("") })
    });
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Failed, "not_rooted")]);
    assert_eq!(ran(&site, "/bin/switch-to-configuration"), 0);
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}

#[test]
fn there_must_be_room_for_what_is_fetched_and_a_tenth_more_and_the_evidence_says_how_much() {
    // The floor of 1 GiB, and what is fetched with a tenth more, in 2 GiB.
    let mut site = fetches("930.00 MiB");
    let form = site.order(activate(1));
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
    let store = &site.last(&form).pre["plan"]["store"];
    assert_eq!(store["free"], 2_u64 << 30);
    assert!(store["needed"].as_u64().unwrap() > (1 << 30) + (1023 << 20), "{store}");
    let mut site = fetches("931.00 MiB");
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Deferred, "no_space")]);
    assert_eq!(runs_with(&site.rig.host.commands(), "--add-root").len(), 0, "nothing is fetched");
}

#[test]
fn how_much_is_fetched_has_to_be_known() {
    let mut site = fetches("a lot");
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Deferred, "no_space")]);
}

/// A site whose new system has another initrd, of so many bytes.
fn with_initrd(bytes: usize) -> Site {
    let site = Site::new();
    site.rig.host.link(&format!("{NEXT}/initrd"), "/nix/store/initrd-newer", T0);
    site.rig.host.write(&format!("{NEXT}/initrd"), vec![0; bytes]);
    site
}

#[test]
fn there_must_be_room_where_the_boot_loader_looks_for_a_new_kernel_and_initrd() {
    // The floor of 16 MiB, and the initrd with a tenth more, in 64 MiB.
    let mut site = with_initrd(43 << 20);
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "loader_cannot_try_once")]);
    let boot = &site.last(&form).pre["plan"]["boot"];
    assert_eq!(boot["needed"], (16 << 20) + (43 << 20) + (43 << 20) / 10);
    let mut site = with_initrd(44 << 20);
    let form = site.order(activate(1));
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Deferred, "no_space")]);
}

#[test]
fn the_evidence_says_what_the_switch_was_to_do_by_names_only() {
    let mut site = Site::new();
    site.rig.host.install_deed(
        &format!("{NEXT}/bin/switch-to-configuration"),
        Box::new(|_, _| {
            let text = "Jane Doe\nwould restart the following units: nginx.service, sshd.service\n";
            Ok(Output { stderr: text.into(), ..said("") })
        }),
    );
    let form = site.order(activate(1));
    site.minutes(4);
    let bundle = site.last(&form);
    let units = serde_json::json!({ "restart": ["nginx.service", "sshd.service"] });
    assert_eq!((&bundle.pre["class"], &bundle.pre["plan"]["units"]), (&"live".into(), &units));
    assert!(!serde_json::to_string(&bundle).unwrap().contains("Jane"));
}

/// A site with one probe, which ends so; before the switch, or with the new system, too.
fn with_probe(ends: impl Fn() -> Result<Output, HostError> + Send + 'static, before: bool) -> Site {
    let site = Site::with(|setup| {
        let switching = setup.switching.as_mut().unwrap();
        switching.probes = vec!["frontdesk-works.service".parse().unwrap()];
    });
    let mut usual = site.rig.host.take_deed("/old/systemctl");
    site.rig.host.install_deed(
        "/old/systemctl",
        Box::new(move |host, arguments| {
            use compliance_checks::Host as _;
            if !has(arguments, "frontdesk-works.service") {
                return usual(host, arguments);
            }
            let running = host.resolve(&"/run/current-system".parse().unwrap()).unwrap();
            let is_next = running.as_str() == NEXT;
            if has(arguments, "start") && (before || is_next) { ends() } else { Ok(said("")) }
        }),
    );
    site
}

type Ends = fn() -> Result<Output, HostError>;

const FAILS: Ends = || Ok(Output { code: Some(1), ..said("") });

const HANGS: Ends = || {
    let limit = std::time::Duration::from_mins(1);
    Err(HostError::TimedOut { what: "/old/systemctl".to_owned(), limit })
};

#[test]
fn a_probe_that_fails_or_hangs_with_the_new_system_takes_it_back() {
    for ends in [FAILS, HANGS] {
        let mut site = with_probe(ends, false);
        let form = site.order(activate(1));
        site.minutes(4);
        assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "worse_than_before")]);
        let detail = site.last(&form).detail;
        assert!(detail.contains("probe frontdesk-works.service"), "{detail}");
        assert_eq!(site.links(), [OLD, OLD, OLD]);
    }
}

#[test]
fn on_the_way_back_no_probe_of_the_system_that_goes_is_waited_for() {
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let fails = move || {
        count.fetch_add(1, Ordering::Relaxed);
        FAILS()
    };
    let mut site = with_probe(fails, false);
    let form = site.order(activate(1));
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Reverted, "worse_than_before")]);
    assert_eq!(started.load(Ordering::Relaxed), 3, "a look while it settles, and two after");
}

#[test]
fn a_probe_is_given_a_minute_and_is_stopped_when_it_hangs() {
    let mut site = with_probe(HANGS, true);
    site.order(activate(1));
    let commands = site.rig.host.commands();
    let probe = runs_with(&commands, "frontdesk-works.service");
    assert_eq!(probe[0].limit.as_secs(), 60);
    assert!(has(&argv(probe[0]), "start") && has(&argv(probe[1]), "stop"), "{probe:?}");
}

#[test]
fn a_probe_that_failed_before_is_not_the_new_systems_fault() {
    let mut site = with_probe(FAILS, true);
    let form = site.order(activate(1));
    site.minutes(4);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
    let wrong = site.last(&form).pre["wrong"].to_string();
    assert!(wrong.contains("probe frontdesk-works.service"), "{wrong}");
}

#[test]
fn a_probe_that_passes_is_started_at_each_look() {
    let started = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&started);
    let passes = move || {
        tell.store(true, Ordering::Relaxed);
        Ok(said(""))
    };
    let mut site = with_probe(passes, true);
    let form = site.order(activate(1));
    assert!(started.swap(false, Ordering::Relaxed), "before anything is done");
    site.minutes(1);
    assert!(started.load(Ordering::Relaxed), "during the proof");
    site.minutes(3);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Success, "activated")]);
}

#[test]
fn where_systems_come_from_substituters_only_an_order_for_a_flake_is_refused_and_nothing_begun() {
    let mut site = Site::new();
    let form = site.order(from_a_flake(activate(1)));
    site.minutes(2);
    assert_eq!(site.rig.about(&form), [outcome(Outcome::Rejected, "policy")]);
    assert!(site.last(&form).detail.contains("activation.source"), "{:?}", site.last(&form));
    let runs = site.rig.host.runs();
    assert!(runs.iter().all(|argv| !argv[0].starts_with("/old/")), "{runs:?}");
    assert_eq!(site.links(), [OLD, OLD, OLD]);
}
