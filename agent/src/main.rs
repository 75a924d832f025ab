//! `compliance-agent`: arguments in, exit code out.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use compliance_agent::certificate::{self, Put};
use compliance_agent::clock::TicketClock;
use compliance_agent::config::{Config, DEFAULT_PATH, Tls};
use compliance_agent::health::{Health, judge};
use compliance_agent::renew::{self, Renewed};
use compliance_agent::report::Report;
use compliance_agent::{run, status};

const USAGE: &str = "\
usage: compliance-agent run [--config FILE]              poll, until SIGTERM
       compliance-agent status [--json] [--config FILE]  checks, gates, queue, last poll, why not now
       compliance-agent health [--config FILE]           exit 0 healthy, 1 not, 2 cannot tell
       compliance-agent renew --request FILE --into FILE [--config FILE]
                                                         ask for a new certificate, if the old one ends soon
       compliance-agent put-certificate --received FILE --ca FILE --certificate FILE --key FILE
                                                         put what was received in the place of CERTIFICATE, if
                                                         that ends soon and the new one fits
       compliance-agent check-config [--config FILE]     exit 0 if FILE and what it names can be used
       compliance-agent --version | --help
FILE is /etc/compliance/agent.toml unless given.
";

fn main() -> ExitCode {
    match perform() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "compliance-agent: {}",
                compliance_daemon::words::of(error.as_ref())
            );
            ExitCode::from(2)
        }
    }
}

fn perform() -> anyhow::Result<u8> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let config = || compliance_daemon::config::read::<Config>(&arguments.config);
    match arguments.command {
        Command::Run => run_agent(&config()?),
        Command::Status => show_status(&config()?, arguments.json),
        Command::Health => show_health(&config()?),
        Command::Renew => renew_certificate(&config()?, &arguments),
        Command::PutCertificate => put_certificate(&arguments),
        Command::CheckConfig => {
            run::client(&config()?.tls, &Arc::new(TicketClock::unset()))?;
            print(&format!("{} can be used\n", arguments.config.display()))
        }
        Command::Help => print(USAGE),
        Command::Version => print(concat!("compliance-agent ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn run_agent(config: &Config) -> anyhow::Result<u8> {
    let _log =
        compliance_daemon::log::start("compliance-agent", config.log.level, config.log.format);
    block_on(run::run(config))??;
    Ok(0)
}

fn renew_certificate(config: &Config, arguments: &Arguments) -> anyhow::Result<u8> {
    let (request, into) = (arguments.file("--request")?, arguments.file("--into")?);
    print(match block_on(renew::renew(config, request, into))?? {
        Renewed::NotDue => "the certificate is good for longer than 30 days\n",
        Renewed::Pending => {
            "a new certificate is asked for; an operator answers with `compliancectl site renew`\n"
        }
        Renewed::Written => {
            "a new certificate is there; the agent uses it once it is put in place\n"
        }
    })
}

fn put_certificate(arguments: &Arguments) -> anyhow::Result<u8> {
    let file = |name| arguments.file(name).map(Path::to_owned);
    let tls = Tls { ca: file("--ca")?, certificate: file("--certificate")?, key: file("--key")? };
    let now = compliance_clock::wall();
    print(match certificate::put(&tls, arguments.file("--received")?, now)? {
        Put::Done => "the new certificate is in place; the agent uses it from its next start on\n",
        Put::Already => "the certificate is in place already\n",
        Put::NotDue => "the certificate in use is good for longer than 30 days\n",
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(work);
    // A resolver that hangs must not keep the process.
    runtime.shutdown_background();
    Ok(outcome)
}

fn show_status(config: &Config, json: bool) -> anyhow::Result<u8> {
    let report = Report::read(&config.state_file)?;
    let age = report.age(run::moment(), &run::boot_id()?);
    print(&if json { status::document(&report, age)? } else { status::text(&report, age) })
}

fn show_health(config: &Config) -> anyhow::Result<u8> {
    let report = Report::read(&config.state_file)?;
    let (code, sentence) = match judge(&report, run::moment(), &run::boot_id()?) {
        Health::Healthy(sentence) => (0, sentence),
        Health::Unhealthy(sentence) => (1, sentence),
        Health::Unknown(sentence) => (2, sentence),
    };
    print(&format!("{sentence}\n"))?;
    Ok(code)
}

fn print(text: &str) -> anyhow::Result<u8> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write to stdout")?;
    Ok(0)
}

enum Command {
    CheckConfig,
    Health,
    Help,
    PutCertificate,
    Renew,
    Run,
    Status,
    Version,
}

impl Command {
    /// The files that it is given, besides the configuration.
    fn files(&self) -> &'static [&'static str] {
        match self {
            Self::PutCertificate => &["--received", "--ca", "--certificate", "--key"],
            Self::Renew => &["--request", "--into"],
            _ => &[],
        }
    }
}

struct Arguments {
    command: Command,
    config: PathBuf,
    json: bool,
    files: Vec<(String, PathBuf)>,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let command = match given.next().as_deref() {
            Some("check-config") => Command::CheckConfig,
            Some("health") => Command::Health,
            Some("help" | "--help" | "-h") => Command::Help,
            Some("put-certificate") => Command::PutCertificate,
            Some("renew") => Command::Renew,
            Some("run") => Command::Run,
            Some("status") => Command::Status,
            Some("--version" | "-V") => Command::Version,
            Some(other) => bail!("{other:?} is not a command\n{USAGE}"),
            None => bail!("a command is missing\n{USAGE}"),
        };
        let config = PathBuf::from(DEFAULT_PATH);
        let mut arguments = Self { command, config, json: false, files: Vec::new() };
        while let Some(argument) = given.next() {
            match (argument.as_str(), &arguments.command) {
                ("--config", _) => {
                    arguments.config = given.next().context("--config needs a file")?.into();
                }
                ("--json", Command::Status) => arguments.json = true,
                (name, command) if command.files().contains(&name) => {
                    let file = given.next().with_context(|| format!("{name} needs a file"))?;
                    arguments.files.push((argument, file.into()));
                }
                _ => bail!("{argument:?} does not belong here\n{USAGE}"),
            }
        }
        Ok(arguments)
    }

    /// The file that was given by this name.
    fn file(&self, name: &str) -> anyhow::Result<&Path> {
        let given = self.files.iter().rev().find(|(given, _)| given == name);
        given
            .map(|(_, file)| file.as_path())
            .with_context(|| format!("{name} FILE is missing\n{USAGE}"))
    }
}
