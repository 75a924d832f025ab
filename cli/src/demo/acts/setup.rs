//! Act 1: an authority, keys, one site; three processes that trust each other.

use std::path::PathBuf;

use compliance_checks::baseline::Baseline;
use compliance_protocol::clock::ClockSource;
use compliance_protocol::digest::Digest;
use compliance_transport::Identity;

use super::super::courier::Courier;
use super::super::failure::Failure;
use super::super::job::{self, Job};
use super::super::operator::Operator;
use super::super::settings::{self, Listening, quoted};
use super::super::spawn;
use super::super::stage::{Scene, Stage};
use super::super::story::Story;
use crate::config::Endpoint;
use crate::key::{Role, generate};
use crate::site::{self, AddArgs};
use crate::{Error, entropy, files};

pub(in super::super) async fn play(stage: &mut Stage, story: &mut Story) -> Result<Scene, Failure> {
    let title = "An authority, keys, one site; three processes run and trust each other";
    let mut step = story.step(1, title)?;
    make_keys(stage)?;
    init_mcp(stage)?;
    let machine_id = machine_id(stage)?;
    enrol(stage, &machine_id)?;
    let job = Job::make(stage.dir.job())?;
    sign_baseline(stage, &job, &machine_id)?;

    let listening = stage.start_mcp(Listening::anywhere()).await?;
    files::create(
        &stage.dir.root().join("compliancectl.toml"),
        settings::operator(&stage.dir, listening.operator).as_bytes(),
        files::PUBLIC,
    )?;
    let trust = files::trust(&stage.dir.trust())?.into_value();
    let key = files::private_key(&stage.dir.keys().join("orders.key"))?;
    let operator = Operator::new(&endpoint(stage, listening), key, trust.clone())?;
    operator.register(files::envelope(&stage.dir.trust())?).await?;

    let courier = courier(stage, listening)?;
    stage.start_executor(&courier).await?;
    let agent = settings::agent(&stage.dir, nix::unistd::getuid().as_raw(), listening.appliance);
    files::create(&stage.dir.agent_config(), agent.as_bytes(), files::PUBLIC)?;
    stage.start_agent(&courier).await?;

    step.note(time_source(courier.status().await?.clock.source));
    story.done(step)?;
    Ok(Scene { operator, courier, trust, job, listening })
}

fn make_keys(stage: &Stage) -> Result<(), Error> {
    for folder in [stage.dir.keys(), stage.dir.site(), stage.dir.root().join("logs")] {
        files::directory(&folder)?;
    }
    for role in [Role::Root, Role::Orders, Role::Baseline] {
        generate(role, &stage.dir.keys(), role.name(), &entropy::random()?)?;
    }
    Ok(())
}

/// `compliance-mcp init`, and its two public keys beside the operator's.
fn init_mcp(stage: &Stage) -> Result<(), Failure> {
    let (dir, keys) = (stage.dir.mcp(), stage.dir.keys());
    let folder = dir.display().to_string();
    let root = keys.join("root.pub").display().to_string();
    let tenant = stage.names.tenant.as_str();
    let arguments = [
        "init",
        "--dir",
        &folder,
        "--tenant",
        tenant,
        "--name",
        "127.0.0.1",
        "--name",
        "localhost",
        "--root-pub",
        &root,
    ];
    spawn::run_well(&stage.binaries.mcp, &arguments, stage.dir.root())?;
    for name in ["feed.pub", "checkpoint.pub"] {
        let pem = files::text(&dir.join("keys").join(name))?;
        files::create(&keys.join(name), pem.as_bytes(), files::PUBLIC)?;
    }
    Ok(())
}

/// `compliance-executor enrol` on the appliance, `compliancectl site add` at the operator's.
fn enrol(stage: &Stage, machine_id: &std::path::Path) -> Result<(), Failure> {
    let uid = nix::unistd::getuid().as_raw();
    let names = &stage.names;
    let (tenant, site, opens) = (&names.tenant, &names.site, &stage.window_opens);
    let config = settings::executor(&stage.dir, tenant, site, uid, opens, machine_id);
    files::create(&stage.dir.executor_config(), config.as_bytes(), files::PUBLIC)?;
    let config = stage.dir.executor_config().display().to_string();
    spawn::run_well(&stage.binaries.executor, &["enrol", "--config", &config], stage.dir.root())?;

    let data = stage.dir.executor_data();
    let args = AddArgs {
        site: site.clone(),
        tenant: tenant.clone(),
        csr: data.join("tls.csr"),
        evidence_pub: data.join("evidence.pub"),
        authority: stage.dir.mcp().join("offline"),
        root_keys: vec![stage.dir.keys().join("root.key")],
        root_pubs: Vec::new(),
        root_threshold: 1,
        keys: stage.dir.keys(),
        log_origin: log_origin(stage)?,
        epoch: 1,
        trust_version: 1,
        out: stage.dir.site(),
    };
    site::add(&args, compliance_clock::wall())?;
    Ok(())
}

fn log_origin(stage: &Stage) -> Result<String, Failure> {
    let path = stage.dir.mcp_config();
    let config = files::text(&path)?.parse::<toml::Table>();
    let origin =
        config.ok().and_then(|config| Some(config.get("log_origin")?.as_str()?.to_owned()));
    origin.ok_or_else(|| Failure::Unexpected(format!("{} names no log_origin", path.display())))
}

/// This machine's own id, or one for the demonstration where there is none.
fn machine_id(stage: &Stage) -> Result<PathBuf, Error> {
    let own = PathBuf::from("/etc/machine-id");
    if files::text(&own).is_ok_and(|id| !id.trim().is_empty()) {
        return Ok(own);
    }
    let path = stage.dir.site().join("machine-id");
    files::create(&path, hex::encode(entropy::random::<16>()?).as_bytes(), files::PUBLIC)?;
    Ok(path)
}

fn sign_baseline(stage: &Stage, job: &Job, machine_id: &std::path::Path) -> Result<(), Failure> {
    let names = &stage.names;
    let [script, folder] = job.argv();
    let text = format!(
        r#"version = 1
tenant = "{tenant}"
site = "{site}"

[bound_to]
machine_id_sha256 = "{machine}"

[[backups.jobs]]
name = "{name}"
status_file = {status}
max_age_h = {age}
max_runtime_s = 60
run = {{ argv = [{script}, {folder}] }}

[[services.units]]
unit = "{unit}"
disruptive = true

[patching]

[logging]

[encryption]
mounts = ["/"]

[firewall]
not_applicable = "the demonstration brings no ruleset to compare this machine's with"
"#,
        tenant = names.tenant,
        site = names.site,
        machine = Digest::of(files::text(machine_id)?.trim().as_bytes()),
        name = job::NAME,
        status = quoted(&job.status_file()),
        age = job::MAX_AGE_H,
        script = quoted(&script),
        folder = quoted(&folder),
        unit = names.disruptive_unit,
    );
    let path = stage.dir.site().join("baseline.toml");
    files::create(&path, text.as_bytes(), files::PUBLIC)?;
    let baseline: Baseline = compliance_daemon::config::read(&path).map_err(Error::from)?;
    let key = files::private_key(&stage.dir.keys().join("baseline.key"))?;
    let envelope = compliance_signing::sign(&baseline, &[&key]).map_err(Error::from)?;
    Ok(files::create(&stage.dir.baseline(), &envelope, files::PUBLIC)?)
}

fn endpoint(stage: &Stage, listening: Listening) -> Endpoint {
    let offline = stage.dir.mcp().join("offline");
    Endpoint {
        mcp: format!("https://{}", listening.operator),
        ca: offline.join("ca.pem"),
        cert: offline.join("operator-admin.pem"),
        key: offline.join("operator-admin.key"),
    }
}

fn courier(stage: &Stage, listening: Listening) -> Result<Courier, Error> {
    let site = stage.dir.site();
    let key = stage.dir.executor_data().join("tls.key");
    let identity = Identity::read(&site.join("ca.pem"), &site.join("tls.pem"), &key)?;
    Courier::new(stage.dir.socket(), format!("https://{}", listening.appliance), identity)
}

fn time_source(source: ClockSource) -> &'static str {
    match source {
        ClockSource::Kernel => {
            "the time is trusted: the kernel says that its clock is synchronised"
        }
        ClockSource::Feed => {
            "the kernel's clock is not synchronised here: the trusted time is the control plane's, by its signed feed head"
        }
        ClockSource::None => "nobody knows the time yet",
    }
}
