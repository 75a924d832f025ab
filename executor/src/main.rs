//! `compliance-executor`: see `compliance-executor help`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use compliance_checks::linux::LinuxHost;
use compliance_checks::{Host, Verdict, baseline::Baseline};
use compliance_daemon::{config, log, words};
use compliance_executor::config::Config;
use compliance_executor::effect::Tools;
use compliance_executor::reserve::Reserve;
use compliance_executor::{
    at_the_box, capture, enrol, export, guard, load, serve, socket, switched, table, undo,
};

const HELP: &str = "\
compliance-executor: verifies, observes, decides, heals, signs

  serve --config FILE             run
  check --config FILE [--json]    run the six checks once, change nothing
  capture --config FILE           print this machine as a baseline, in TOML, for a person to review
  enrol --config FILE [--json]    make this appliance's keys; prints what the control plane needs
  export DIR --config FILE        write all evidence as files that anybody can verify
  pause --for DURATION --config FILE   heal nothing for so long, such as 4h or 30m
  reset-clock --config FILE       forget the latest time ever trusted; leaves an alert
  undo --activation=ID …          what the dead-man of an activation runs
  guard FILE                      what a system that is booted on trial runs, to go back
  switched FOLDER ID SYSTEM       what the unit of a switch runs last
  check-config --config FILE      say whether the configuration is valid

Exit codes: 0 it holds, 1 it does not, 2 it could not be done.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            let _ =
                writeln!(std::io::stderr(), "compliance-executor: {}", words::of(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    match arguments.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        Some(("undo", rest)) => return undo_activation(rest),
        Some(("guard", rest)) => return guard_trial_boot(rest),
        Some(("switched", rest)) => return write_switch_end(rest),
        _ => {}
    }
    let arguments = Arguments::parse(arguments)?;
    let (Some(command), Some(path)) = (arguments.command.as_deref(), &arguments.config) else {
        return if arguments.command.as_deref().is_some_and(|word| matches!(word, "help" | "--help"))
        {
            print(HELP)
        } else {
            bail!("a command and --config FILE are needed\n\n{HELP}")
        };
    };
    let config: Config = config::read(path)?;
    if let Some(why) = config.contradiction() {
        bail!("{} is not a valid configuration: {why}", path.display());
    }
    match command {
        "serve" => {
            let _log = log::start("compliance-executor", config.log.level, config.log.format);
            serve_until_stopped(&config)
        }
        "check" => check(&config, arguments.json),
        "capture" => {
            let (whose, about) = load::to_capture(&config, load::random())?;
            let host: Arc<dyn Host> = Arc::new(LinuxHost::default());
            print(&capture::capture(&host, &whose, &about)?)
        }
        "enrol" => {
            let enrolled = enrol::enrol(&config, &mut load::random())?;
            let text = format!("{}{}", enrolled.csr, enrolled.evidence_pub);
            print(&if arguments.json { serde_json::to_string(&enrolled)? + "\n" } else { text })
        }
        "export" => {
            let dir = arguments.word.context("export needs a directory")?;
            let (trust, _, ledger) = load::documents(&config)?;
            let evidence = &trust.roles.evidence;
            let count = export::export(&ledger, evidence, &trust.log, &dir)?;
            print(&format!("{count} bundles in {}\n", dir.display())).and_then(|code| {
                match export::moved_aside(&config.ledger()).as_slice() {
                    [] => Ok(code),
                    [aside, ..] => bail!(
                        "not all evidence is in it: a damaged ledger lies in {}",
                        aside.display()
                    ),
                }
            })
        }
        "pause" => {
            let length = arguments.length.context("pause needs --for DURATION, such as 4h")?;
            let until = at_the_box::pause(&config, length, load::random())?;
            print(&format!("nothing is healed without an order until {until}\n"))
        }
        "reset-clock" => {
            let forgotten = at_the_box::reset_clock(&config, load::random())?;
            let mark = forgotten.map_or_else(|| "no time".to_owned(), |mark| mark.to_string());
            print(&format!(
                "{mark} was the latest time ever trusted; the next source is believed\n"
            ))
        }
        "check-config" => print(&format!("{} is valid\n", path.display())),
        other => bail!("there is no command {other:?}\n\n{HELP}"),
    }
}

fn serve_until_stopped(config: &Config) -> Result<ExitCode> {
    let _alone = load::lock(config)?;
    // On a full disk the ledger may not even open without it; how it is, is reported later.
    let reserve = Reserve::new(&config.data_dir);
    let _ = reserve.look(&mut load::random());
    // Before any thread starts and before the socket is there to be asked.
    let engine = load::engine(config, load::random())?;
    let listener = socket::listener(config.socket.as_deref(), config.agent_uid)
        .context("the executor's socket")?;
    let for_baseline = config.clone();
    let watched = [config.baseline.as_path(), Path::new("/run/current-system")];
    serve::serve(serve::Parts {
        engine,
        listener,
        agent_uid: config.agent_uid,
        host: Arc::new(LinuxHost::default()),
        tools: Tools {
            systemctl: config.systemctl.clone(),
            undo_dir: config.data_dir.clone(),
            switching: config.activation.clone(),
            fills_sets: config.fills_sets.clone(),
        },
        reserve,
        closure_baseline: Box::new(move || load::closure_baseline(&for_baseline)),
        // Unit files: the folder itself is named, and what changes in it counts.
        watched: watched
            .into_iter()
            .chain([Path::new("/etc/systemd/system")])
            .map(Into::into)
            .collect(),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What the dead-man does. It waits without an event to wait for: it is alone, and nobody tells it that a
/// switch has ended.
fn undo_activation(arguments: &[String]) -> Result<ExitCode> {
    let _log = log::start("compliance-executor", log::Level::default(), log::Format::default());
    Ok(undo_after(std::time::Duration::ZERO, &undo::Undoing::parse(arguments)?))
}

/// What a trial boot's guard does, if the boot is one.
fn guard_trial_boot(arguments: &[String]) -> Result<ExitCode> {
    let _log = log::start("compliance-executor", log::Level::default(), log::Format::default());
    let [place] = arguments else { bail!("guard needs the FILE that was left for a trial boot") };
    let guard = guard::Guard::take(Path::new(place)).context("the guard of a trial boot")?;
    let booted = undo::system_at(&LinuxHost::default(), "/run/booted-system");
    let guard = guard.filter(|guard| guard.is_for(booted.as_ref()));
    Ok(guard.map_or(ExitCode::SUCCESS, |guard| undo_after(guard.after(), &guard.order)))
}

fn undo_after(span: std::time::Duration, undoing: &undo::Undoing) -> ExitCode {
    let (_never, silence) = std::sync::mpsc::channel::<()>();
    let mut wait = |span| {
        let _ = silence.recv_timeout(span);
    };
    wait(span);
    let uptime = compliance_clock::boottime;
    match undo::undo(undoing, &LinuxHost::default(), &uptime, &mut wait) {
        undo::Undone::Back | undo::Undone::Left => ExitCode::SUCCESS,
        undo::Undone::Failed => ExitCode::FAILURE,
    }
}

/// What the unit of a switch does last: it says for later how the switch ended.
fn write_switch_end(arguments: &[String]) -> Result<ExitCode> {
    let ended = (std::env::var("EXIT_CODE"), std::env::var("EXIT_STATUS"));
    let ([folder, activation, system], (Ok(code), Ok(status))) = (arguments, ended) else {
        bail!("switched is what the unit of a switch runs last, with FOLDER ID SYSTEM");
    };
    let (ended, host) = (format!("{code}-{status}"), LinuxHost::default());
    switched::write(Path::new(folder), activation.parse()?, &ended, &system.parse()?, &host)
        .with_context(|| format!("how the switch ended cannot be written to {folder}"))?;
    Ok(ExitCode::SUCCESS)
}

fn check(config: &Config, as_json: bool) -> Result<ExitCode> {
    let (_, baseline, ledger): (_, Result<Baseline, String>, _) = load::documents(config)?;
    let host: Arc<dyn Host> = Arc::new(LinuxHost::default());
    let observed = load::look(baseline, &ledger, &host, load::random())?;
    let text =
        if as_json { table::json(&observed).to_string() + "\n" } else { table::text(&observed) };
    print(&text)?;
    let green =
        |verdict: &Verdict| matches!(verdict, Verdict::Compliant | Verdict::NotApplicable(_));
    let holds = observed.iter().all(|observed| green(&observed.report().verdict));
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The command line, parsed by hand: the appliance's binaries carry no argument parser.
#[derive(Debug, Default)]
struct Arguments {
    command: Option<String>,
    word: Option<PathBuf>,
    config: Option<PathBuf>,
    length: Option<compliance_protocol::time::Span>,
    json: bool,
}

impl Arguments {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut parsed = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--json" => parsed.json = true,
                "--config" => {
                    parsed.config = Some(rest.next().context("--config needs a file")?.into());
                }
                "--for" => {
                    let text = rest.next().context("--for needs a duration, such as 4h")?;
                    parsed.length = Some(parse_length(text)?);
                }
                option if option.starts_with("--") && option != "--help" => {
                    bail!("there is no option {option}\n\n{HELP}")
                }
                word if parsed.command.is_none() => parsed.command = Some(word.to_owned()),
                word if parsed.word.is_none() => parsed.word = Some(word.into()),
                word => bail!("what is {word:?} for?\n\n{HELP}"),
            }
        }
        Ok(parsed)
    }
}

/// At most a week: a pause must end by itself within a time that somebody still remembers it.
fn parse_length(text: &str) -> Result<compliance_protocol::time::Span> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| {
        anyhow::anyhow!("{text:?} is not a time in hours and minutes, such as 4h or 30m")
    })?;
    let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let length = compliance_protocol::time::Span::from_millis(ms);
    let longest = compliance_executor::authorise::MAX_PAUSE;
    if ms <= 0 || length > longest {
        bail!("healing can be paused for {longest} at most, and for some time at least");
    }
    Ok(length)
}

fn print(text: &str) -> Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
