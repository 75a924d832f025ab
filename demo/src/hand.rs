//! A hand at a site: does there what somebody at the clinic might, by the scripts of `demo/site/hands`. It is a Unix
//! socket in a folder that both containers have, so that the appliance still listens on no network.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long a hand may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 256 * 1024;

/// Why nothing was done at a site.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandError {
    /// The site's socket.
    #[error("{site} cannot be reached by its hand: {source}; look whether its container runs")]
    Unreachable {
        /// The site.
        site: String,
        /// Why not.
        source: io::Error,
    },
    /// It tried, and it did not go well.
    #[error("at {site} `{name}` did not go well: {said}")]
    Failed {
        /// The site.
        site: String,
        /// The script.
        name: String,
        /// What it printed.
        said: String,
    },
}

/// Has the script `name` run at `site`, and gives what it printed.
pub(crate) async fn ask(
    sites: &Path,
    site: &str,
    name: &str,
    seconds: Option<u32>,
) -> Result<String, HandError> {
    let line = match seconds {
        Some(seconds) => format!("{name} {seconds}\n"),
        None => format!("{name}\n"),
    };
    let answer = timeout(LIMIT, talk(&sites.join(site).join("hand.sock"), &line)).await;
    let unreachable = |source| HandError::Unreachable { site: site.to_owned(), source };
    let answer = answer.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?;
    let answer = answer.map_err(unreachable)?;
    match answer.strip_suffix("ok\n") {
        Some(said) => Ok(said.to_owned()),
        None => Err(HandError::Failed {
            site: site.to_owned(),
            name: name.to_owned(),
            said: answer.trim_end().to_owned(),
        }),
    }
}

/// What the script `name` says, word for word.
pub(crate) fn script_of(name: &str) -> &'static str {
    match name {
        "stop-imaging" => include_str!("../site/hands/stop-imaging"),
        "stop-service" => include_str!("../site/hands/stop-service"),
        "age-backup" => include_str!("../site/hands/age-backup"),
        "open-port" => include_str!("../site/hands/open-port"),
        "deafen-journal" => include_str!("../site/hands/deafen-journal"),
        "cut-network" => include_str!("../site/hands/cut-network"),
        "mend-network" => include_str!("../site/hands/mend-network"),
        "break-dns" => include_str!("../site/hands/break-dns"),
        "mend-dns" => include_str!("../site/hands/mend-dns"),
        _ => "",
    }
}

async fn talk(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    Ok(answer)
}
