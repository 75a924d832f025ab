//! Where browsers come in. The console listens on loopback only, which here is the container's own; Docker
//! publishes this port on the loopback of the machine that runs it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Where it listens: all addresses of the container.
const LISTEN: ([u8; 4], u16) = ([0, 0, 0, 0], 8080);

/// The pause after the kernel had no more file descriptors for us.
const PAUSE: Duration = Duration::from_millis(200);

/// Listens; what this gives carries every connection to the console at `console`, and never ends.
pub(crate) async fn open(console: SocketAddr) -> anyhow::Result<impl Future<Output = ()>> {
    let address = SocketAddr::from(LISTEN);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for browsers"))?;
    Ok(async move {
        loop {
            match listener.accept().await {
                Ok((browser, _)) => drop(tokio::spawn(carry(browser, console))),
                Err(error) => {
                    tracing::warn!(%error, "a browser could not be let in");
                    sleep(PAUSE).await;
                }
            }
        }
    })
}

async fn carry(mut browser: TcpStream, console: SocketAddr) -> io::Result<()> {
    let mut console = TcpStream::connect(console).await?;
    copy_bidirectional(&mut browser, &mut console).await?;
    Ok(())
}
