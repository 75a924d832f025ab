//! The operator's client of the control plane.

use compliance_protocol::envelope::Verified;
use compliance_protocol::name::Site;
use compliance_protocol::trust::Trust;
use compliance_protocol::wire::Problem;
use compliance_transport::{Body, Client, Identity, Limits, Method, Response};
use serde::de::DeserializeOwned;

use crate::Error;
use crate::config::Endpoint;

/// An answer with several bundles is larger than a poll's.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// One control plane, asked as one operator.
#[derive(Debug)]
pub struct ControlPlane {
    client: Client,
    base: String,
}

impl ControlPlane {
    /// Reads the operator's certificate and key. Nothing is sent yet.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        let identity = Identity::read(&endpoint.ca, &endpoint.cert, &endpoint.key)?;
        let limits = Limits { body: MAX_ANSWER, ..Limits::default() };
        // An operator's machine knows the time: its own clock judges the server's certificate.
        let client = Client::new(identity, || Some(compliance_clock::wall()), limits)?;
        Ok(Self { client, base: endpoint.mcp.clone() })
    }

    /// Asks for `path`, which begins with `/api/`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let answer = self.send(Method::GET, path, None).await?;
        read(path, &answer)
    }

    /// Puts JSON to `path`.
    pub async fn put(&self, path: &str, json: Vec<u8>) -> Result<(), Error> {
        self.send(Method::PUT, path, Some(json)).await.map(|_| ())
    }

    /// Posts JSON to `path` and reads the answer.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, json: Vec<u8>) -> Result<T, Error> {
        let answer = self.send(Method::POST, path, Some(json)).await?;
        read(path, &answer)
    }

    /// Hands over a signed order for `site`; refused unless it verifies there.
    pub async fn push(&self, site: &Site, envelope: Vec<u8>) -> Result<(), Error> {
        let path = format!("/api/v1/sites/{site}/orders");
        self.send(Method::POST, &path, Some(envelope)).await.map(|_| ())
    }

    /// Deletes what is at `path`.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.send(Method::DELETE, path, None).await.map(|_| ())
    }

    /// The trust file that the control plane holds for `site`. It is as good as the control plane: it
    /// serves to find keys and numbers, not to decide whom to trust.
    pub async fn trust(&self, site: &Site) -> Result<Verified<Trust>, Error> {
        let path = format!("/api/v1/sites/{site}/trust");
        let answer = self.send(Method::GET, &path, None).await?;
        Trust::first(&answer.body).map_err(|source| Error::Trust {
            origin: format!("of {site} from the control plane"),
            source: Box::new(source),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        json: Option<Vec<u8>>,
    ) -> Result<Response, Error> {
        let url = format!("{}{path}", self.base);
        let answer = self.client.request(method, &url, json.map(Body::json)).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(refusal(path, &answer)) }
    }
}

fn read<T: DeserializeOwned>(path: &str, answer: &Response) -> Result<T, Error> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Error::Answer { path: path.to_owned(), detail: error.to_string() })
}

fn refusal(path: &str, answer: &Response) -> Error {
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => Error::Refused {
            status: answer.status.as_u16(),
            title: problem.title,
            detail: problem.detail,
        },
        Err(_) => Error::Answer {
            path: path.to_owned(),
            detail: format!("status {} without a problem document", answer.status),
        },
    }
}
