//! The control plane's side: HTTP, with whatever goes wrong put into one of a few causes.

use compliance_transport::{Body, Client, Error, Method, Response, header};

use crate::config::McpUrl;
use crate::cycle::{Call, Reply};
use crate::report::{Cause, Failure};

/// The control plane.
#[derive(Debug)]
pub struct ControlPlane {
    client: Client,
    url: McpUrl,
}

impl ControlPlane {
    /// The control plane at `url`.
    pub fn new(client: Client, url: McpUrl) -> Self {
        Self { client, url }
    }

    /// Makes one call, within the client's limits.
    pub async fn send(&self, call: Call) -> Result<Reply, Failure> {
        let url = self.url.join(&call.path);
        let (method, body) = match call.body {
            Some(json) => (Method::POST, Some(Body::json(json))),
            None => (Method::GET, None),
        };
        match self.client.request(method, &url, body).await {
            Ok(response) => Ok(reply(response)),
            Err(error) => Err(Failure::new(cause(&error), &error.to_string())),
        }
    }
}

fn reply(response: Response) -> Reply {
    // The form that is a date is not read: a clock may be what is wrong here.
    let retry_after = response.headers.get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Reply { status: response.status.as_u16(), retry_after, body: response.body }
}

fn cause(error: &Error) -> Cause {
    match error {
        Error::Connect { .. } => Cause::Connect,
        Error::Dns { .. } => Cause::Dns,
        Error::Protocol { .. } | Error::TooLarge { .. } | Error::Url { .. } => Cause::Server,
        Error::Timeout { .. } => Cause::Timeout,
        Error::Tls { .. } => Cause::Tls,
    }
}
