//! Answers the sites that ask to be enrolled, as a person with the offline keys would: a certificate, a trust file, a
//! signed baseline. A site that asks again is a new machine, and gets a new epoch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use compliance_protocol::name::Site;
use compliancectl::{Error, files};
use tokio::time::{MissedTickBehavior, interval};

use crate::operator::{Enrolment, Operator, OperatorError};

/// How often somebody looks whether a site asks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Answers for ever what is asked in the folders below `sites`.
pub(crate) async fn answer(operator: Arc<Operator>, sites: PathBuf) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (site, folder) in asking(&sites) {
            match enrol(&operator, &site, &folder).await {
                Ok(epoch) => tracing::info!(%site, epoch, "enrolled"),
                // As while the server is not up yet: it is tried again.
                Err(error) => tracing::warn!(%site, %error, "not enrolled yet"),
            }
        }
    }
}

/// The sites that have asked and have no answer.
fn asking(sites: &Path) -> Vec<(Site, PathBuf)> {
    let Ok(folders) = fs::read_dir(sites) else { return Vec::new() };
    let folders = folders.filter_map(|entry| Some(entry.ok()?.path()));
    let asks =
        |folder: &PathBuf| folder.join("request").exists() && !folder.join("answer").exists();
    let named = |folder: PathBuf| Some((folder.file_name()?.to_str()?.parse().ok()?, folder));
    folders.filter(asks).filter_map(named).collect()
}

async fn enrol(operator: &Operator, site: &Site, folder: &Path) -> Result<u64, OperatorError> {
    let request = folder.join("request");
    let Enrolment { epoch, files: made, baseline } = operator.enrol(site, &request).await?;
    let making = folder.join("answering");
    match fs::remove_dir_all(&making) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(Error::Write { path: making, source }.into());
        }
        _ => (),
    }
    files::directory(&making)?;
    for name in ["tls.pem", "ca.pem", "trust.dsse.json"] {
        let text = files::text(&made.join(name))?;
        files::create(&making.join(name), text.as_bytes(), files::PUBLIC)?;
    }
    files::create(&making.join("baseline.dsse.json"), &baseline, files::PUBLIC)?;
    let answer = folder.join("answer");
    fs::rename(&making, &answer).map_err(|source| Error::Write { path: answer, source })?;
    Ok(epoch)
}
