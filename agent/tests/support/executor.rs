//! An executor that is played: it gives tickets and evidence, and shows what it was asked.

use std::path::Path;
use std::sync::{Arc, Mutex};

use compliance_protocol::local::{self, Answer, Request};
use compliance_protocol::time::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{bundle, status, ticket};

/// What the executor holds; survives its restart, as a ledger does.
pub struct Ledger {
    /// The time that tickets tell.
    pub time: Timestamp,
    /// How many bundles have no receipt.
    pub pending: u8,
    /// The most that one answer carries.
    pub batch: u8,
    sent: u8,
}

impl Ledger {
    pub fn new(time: Timestamp, pending: u8) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { time, pending, batch: 2, sent: 0 }))
    }

    fn answer(&mut self, request: &Request) -> Answer {
        match request {
            Request::Ticket {} => Answer::Ticket { ticket: ticket(self.time) },
            Request::Feed { .. } => Answer::Feed { fresh: true, log_size: 0 },
            Request::Pending { .. } => {
                self.sent = self.pending.min(self.batch);
                Answer::Pending { bundles: (0..self.sent).map(bundle).collect() }
            }
            Request::Receipts { results, .. } => {
                assert_eq!(results.len(), usize::from(self.sent), "a result for each bundle sent");
                self.pending -= self.sent;
                Answer::Receipts {
                    recorded: u64::from(std::mem::take(&mut self.sent)),
                    log_size: 0,
                }
            }
            Request::Event { .. } => Answer::Event {},
            Request::Status {} => {
                Answer::Status { status: Box::new(status(u64::from(self.pending))) }
            }
        }
    }
}

/// The executor, until it is dropped.
pub struct Executor {
    /// What it was asked, in order.
    pub asked: mpsc::UnboundedReceiver<Request>,
    _accepting: JoinSet<()>,
}

impl Executor {
    /// Listens at `socket`, which may be left over from an executor before.
    pub fn start(socket: &Path, ledger: &Arc<Mutex<Ledger>>) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let ledger = Arc::clone(ledger);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut conversations = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                conversations.spawn(converse(stream, Arc::clone(&ledger), tell.clone()));
            }
        });
        Self { asked, _accepting: accepting }
    }

    /// The next request that `wanted` takes; what comes before it is dropped.
    pub async fn next<T>(&mut self, wanted: impl Fn(&Request) -> Option<T>) -> T {
        let found = async {
            loop {
                let request = self.asked.recv().await.expect("the executor runs");
                if let Some(found) = wanted(&request) {
                    return found;
                }
            }
        };
        tokio::time::timeout(super::DEADLINE, found).await.expect("asked before the deadline")
    }
}

async fn converse(
    mut stream: UnixStream,
    ledger: Arc<Mutex<Ledger>>,
    tell: mpsc::UnboundedSender<Request>,
) {
    let mut prefix = [0; 4];
    while stream.read_exact(&mut prefix).await.is_ok() {
        let mut json = vec![0; local::frame_size(prefix).unwrap()];
        stream.read_exact(&mut json).await.unwrap();
        let request: Request = local::decode(&json).unwrap();
        let answer = ledger.lock().unwrap().answer(&request);
        let _ = tell.send(request);
        if stream.write_all(&local::encode(&answer).unwrap()).await.is_err() {
            return;
        }
    }
}
