//! The control plane's folder: keys, authority and configurations, made at the first start.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use compliance_daemon::config::ConfigError;
use compliance_mcp::app::Random;
use compliance_mcp::config::Config;
use compliance_mcp::init::{self, InitError};
use compliance_protocol::name::{NotAName, Tenant};
use compliancectl::config::Endpoint;
use compliancectl::key::{self, Role};
use compliancectl::{entropy, files};

/// Whose sites these are.
pub(crate) const TENANT: &str = "acme";

/// The keys that an operator has, and no control plane.
const OPERATORS: [Role; 3] = [Role::Root, Role::Orders, Role::Baseline];

/// For `compliancectl`, wherever it is started in the folder.
const COMPLIANCECTL: &str = "mcp = \"https://localhost:8444\"\nca = \"mcp/offline/ca.pem\"\n\
     cert = \"mcp/offline/operator-admin.pem\"\nkey = \"mcp/offline/operator-admin.key\"\n";

/// Why the folder could not be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaneError {
    /// Keys and files.
    #[error(transparent)]
    Files(#[from] compliancectl::Error),
    /// The authority.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A name of the demonstration's own.
    #[error(transparent)]
    Name(#[from] NotAName),
    /// What was begun is not whole.
    #[error("{path} cannot be put in place: {source}")]
    Rename {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Plane {
    folder: PathBuf,
}

impl Plane {
    /// The folder at `folder`, which is filled if it is new. A start that was cut off is begun anew.
    pub(crate) fn open(folder: &Path, random: &Random) -> Result<Self, PlaneError> {
        let plane = Self { folder: folder.to_owned() };
        if !plane.path("compliancectl.toml").exists() {
            plane.make(random)?;
        }
        Ok(plane)
    }

    fn make(&self, random: &Random) -> Result<(), PlaneError> {
        tracing::info!("the first start: keys and an authority are made");
        for left in ["keys", "mcp"] {
            match std::fs::remove_dir_all(self.path(left)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(PlaneError::Rename { path: self.path(left), source });
                }
                _ => (),
            }
        }
        let keys = self.path("keys");
        for role in OPERATORS {
            key::generate(role, &keys, role.name(), &entropy::random()?)?;
        }
        let request = init::Request {
            folder: self.path("mcp"),
            tenant: tenant()?,
            names: ["mcp", "localhost"].map(str::to_owned).to_vec(),
            root_pubs: vec![keys.join("root.pub")],
            root_threshold: 1,
        };
        init::init(&request, compliance_clock::wall(), random)?;
        for name in ["feed.pub", "checkpoint.pub"] {
            let pem = files::text(&self.path("mcp/keys").join(name))?;
            files::create(&keys.join(name), pem.as_bytes(), files::PUBLIC)?;
        }
        // The last, by which a whole folder is known.
        Ok(files::create(
            &self.path("compliancectl.toml"),
            COMPLIANCECTL.as_bytes(),
            files::PUBLIC,
        )?)
    }

    /// The server's configuration. Operators may come from other containers, with their certificates.
    pub(crate) fn config(&self, public_url: &str) -> Result<Config, PlaneError> {
        let mut config = Config::read(&self.path("mcp/mcp.toml"))?;
        config.operator.listen = SocketAddr::from(([0, 0, 0, 0], 8444));
        config.console.public_url = Some(public_url.to_owned());
        Ok(config)
    }

    /// How an operator reaches the server.
    pub(crate) fn endpoint(&self) -> Endpoint {
        let offline = self.path("mcp/offline");
        Endpoint {
            mcp: "https://localhost:8444".to_owned(),
            ca: offline.join("ca.pem"),
            cert: offline.join("operator-admin.pem"),
            key: offline.join("operator-admin.key"),
        }
    }

    /// Something in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// The tenant.
pub(crate) fn tenant() -> Result<Tenant, NotAName> {
    TENANT.parse()
}
