//! The courier's two sides: the executor's socket and the control plane, as the appliance's own
//! certificate lets one reach them. The hostile act plays the agent with it.

use std::path::PathBuf;

use compliance_protocol::bytes::Bytes;
use compliance_protocol::evidence::{SignedBundle, VerifiedBundle};
use compliance_protocol::feed::Ticket;
use compliance_protocol::key::PublicKey;
use compliance_protocol::local::{self, Answer, Request};
use compliance_protocol::status::Status;
use compliance_protocol::wire::{MAX_BODY, PollAnswer};
use compliance_transport::{Client, Identity, Limits, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::failure::Failure;
use crate::Error;

/// A courier with an appliance's certificate.
#[derive(Debug)]
pub(super) struct Courier {
    socket: PathBuf,
    mcp: String,
    client: Client,
}

impl Courier {
    /// Polls `mcp`, an `https` address, as `identity`.
    pub(super) fn new(socket: PathBuf, mcp: String, identity: Identity) -> Result<Self, Error> {
        let client = Client::new(identity, || Some(compliance_clock::wall()), Limits::default())?;
        Ok(Self { socket, mcp, client })
    }

    /// What the executor says of itself.
    pub(super) async fn status(&self) -> Result<Status, Failure> {
        match self.ask(&Request::Status {}).await? {
            Answer::Status { status } => Ok(*status),
            other => Err(unexpected(&other)),
        }
    }

    /// The evidence that has no receipt yet, verified.
    pub(super) async fn pending(&self, key: &PublicKey) -> Result<Vec<VerifiedBundle>, Failure> {
        let bytes = u64::try_from(MAX_BODY).unwrap_or(u64::MAX);
        match self.ask(&Request::Pending { bytes }).await? {
            Answer::Pending { bundles } => {
                let verify = |bundle: &SignedBundle| bundle.verify(key);
                let verified = bundles.iter().map(verify).collect::<Result<_, _>>();
                verified.map_err(|error| {
                    Failure::Unexpected(format!("the executor's evidence: {error}"))
                })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// One whole round trip: a ticket, a poll, and then in place of the orders that came those that
    /// `tamper` makes of them.
    pub(super) async fn carry(
        &self,
        tamper: impl FnOnce(Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Failure>,
    ) -> Result<(), Failure> {
        let ticket = self.ticket().await?;
        let answer = self.poll(&ticket).await?;
        let came = answer.orders.iter().map(|order| order.get().as_bytes().to_vec()).collect();
        let request = Request::Feed {
            head: answer.feed.get().as_bytes().to_vec().into(),
            orders: tamper(came)?.into_iter().map(Bytes::from).collect(),
            checkpoint: answer.checkpoint,
            consistency: answer.consistency,
        };
        match self.ask(&request).await? {
            Answer::Feed { fresh: true, .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ticket(&self) -> Result<Ticket, Failure> {
        match self.ask(&Request::Ticket {}).await? {
            Answer::Ticket { ticket } => Ok(ticket),
            other => Err(unexpected(&other)),
        }
    }

    async fn poll(&self, ticket: &Ticket) -> Result<PollAnswer, Error> {
        let Ticket { nonce, after, log_size, .. } = ticket;
        let path = format!("/api/v1/orders?after={after}&nonce={nonce}&log={log_size}");
        let url = format!("{}{path}", self.mcp);
        let answer = self.client.request(Method::GET, &url, None).await?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| Error::Answer { path, detail: error.to_string() })
    }

    async fn ask(&self, request: &Request) -> Result<Answer, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Socket(error.to_string());
        let frame = local::encode(request).map_err(|error| failed(&error))?;
        let mut stream = UnixStream::connect(&self.socket).await.map_err(|error| failed(&error))?;
        stream.write_all(&frame).await.map_err(|error| failed(&error))?;
        let mut prefix = [0; 4];
        stream.read_exact(&mut prefix).await.map_err(|error| failed(&error))?;
        let size = local::frame_size(prefix).map_err(|error| failed(&error))?;
        let mut json = vec![0; size];
        stream.read_exact(&mut json).await.map_err(|error| failed(&error))?;
        local::decode(&json).map_err(|error| failed(&error))
    }
}

fn unexpected(answer: &Answer) -> Failure {
    match answer {
        Answer::Error { detail } => Failure::Socket(detail.clone()),
        Answer::Feed { fresh: false, .. } => {
            Failure::Socket("the feed head is not taken".to_owned())
        }
        _ => Failure::Socket("the answer is to another question".to_owned()),
    }
}
