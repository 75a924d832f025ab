//! One connection: who it is, how long it may take, and its requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use compliance_protocol::name::Tenant;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::app::Clock;
use crate::identity::Peer;
use crate::problem::Problem;
use crate::tls::Tls;

use super::crowd::Crowd;

/// As many connections a listener has at once; more wait in the kernel.
const CONNECTIONS: usize = 4096;
/// How long a client may take to shake hands.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head, and how long it may say nothing between two.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long one request may take, its body included.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// The largest head of a request that is read, in bytes.
const HEAD_SIZE: usize = 16 * 1024;
/// How long what was sent may stay unread, in milliseconds: a client that stops reading, or is gone, keeps no place
/// (tcp(7), `TCP_USER_TIMEOUT`).
const UNREAD_TIME_MS: u32 = 60_000;
/// The pause after the kernel had no more file descriptors for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How clients come in.
#[derive(Debug)]
pub(super) enum Entrance {
    /// Over TLS, by a client certificate of the tenant.
    Certificate { tls: Tls, tenant: Tenant },
    /// As they are; on loopback only.
    Plain,
}

/// A listener's entrance and what is behind it.
pub(super) struct Doorway {
    pub(super) entrance: Entrance,
    pub(super) routes: Router,
    pub(super) now: Clock,
    pub(super) crowd: Crowd,
}

/// Accepts connections until `closed`, and returns when all of them have ended.
pub(super) async fn accept(
    listener: TcpListener,
    doorway: Arc<Doorway>,
    mut closed: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => accepted,
            Some(_) = connections.join_next() => continue,
            () = over(&mut closed) => break,
        };
        match accepted {
            Ok((tcp, address)) => {
                // An answer is written at once, and the next segment need not wait for its acknowledgement.
                let _ = tcp.set_nodelay(true);
                let _ = setsockopt(&tcp, sockopt::TcpUserTimeout, &UNREAD_TIME_MS);
                let (doorway, closed) = (Arc::clone(&doorway), closed.clone());
                connections.spawn(async move { doorway.enter(tcp, address, closed).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

impl Doorway {
    async fn enter(&self, tcp: TcpStream, address: SocketAddr, closed: watch::Receiver<bool>) {
        match &self.entrance {
            Entrance::Plain => self.serve(tcp, address, None, closed).await,
            Entrance::Certificate { tls, tenant } => {
                let (stream, certificate) = match timeout(HANDSHAKE_TIME, tls.accept(tcp)).await {
                    Ok(Ok(accepted)) => accepted,
                    Ok(Err(error)) => {
                        tracing::warn!(peer = %address, reason = %error, "TLS handshake refused");
                        return;
                    }
                    Err(_) => {
                        tracing::warn!(peer = %address, reason = "it took too long", "TLS handshake refused");
                        return;
                    }
                };
                match Peer::of(&certificate, tenant) {
                    Ok(peer) => {
                        let identity = peer.identity.clone();
                        if let Some(_place) = self.crowd.enter(&identity) {
                            self.serve(stream, address, Some(peer), closed).await;
                        } else {
                            tracing::debug!(%identity, "it has too many connections: refused");
                        }
                    }
                    Err(error) => {
                        tracing::warn!(peer = %address, reason = %error, "client refused");
                    }
                }
            }
        }
    }

    /// Serves requests until the client goes, or the one in flight when `closed`.
    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        address: SocketAddr,
        peer: Option<Peer>,
        mut closed: watch::Receiver<bool>,
    ) {
        let service = service_fn(|request| self.answer(request, peer.as_ref()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD_SIZE)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = over(&mut closed) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %address, %error, "a connection broke off");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Option<&Peer>,
    ) -> Result<Response, Infallible> {
        if peer.is_some_and(|peer| peer.valid_until < (self.now)()) {
            let over =
                Problem::forbidden("the client certificate has ended since the connection began");
            return Ok(over.into_response());
        }
        let mut request = request.map(Body::new);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer.clone());
        }
        match timeout(REQUEST_TIME, self.routes.clone().oneshot(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                Ok(Problem::unavailable("the request took too long; try again").into_response())
            }
        }
    }
}

/// Ends when the server is to stop.
async fn over(closed: &mut watch::Receiver<bool>) {
    let _ = closed.wait_for(|closed| *closed).await;
}
