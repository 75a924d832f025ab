//! How to reach the control plane: options, else the environment, else `compliancectl.toml`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::Error;

/// How to reach the control plane.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Control plane")]
pub struct Connection {
    /// Configuration file [default: ./compliancectl.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of its operator listener, such as `https://mcp.example:8444` [env: `COMPLIANCECTL_MCP`]
    #[arg(long, global = true, value_name = "URL")]
    pub mcp: Option<String>,
    /// The tenant's authority, PEM [env: `COMPLIANCECTL_CA`]
    #[arg(long, global = true, value_name = "FILE")]
    pub mcp_ca: Option<PathBuf>,
    /// The operator's certificate, PEM [env: `COMPLIANCECTL_CERT`]
    #[arg(long, global = true, value_name = "FILE")]
    pub mcp_cert: Option<PathBuf>,
    /// The operator's private key, PKCS#8 PEM [env: `COMPLIANCECTL_KEY`]
    #[arg(long, global = true, value_name = "FILE")]
    pub mcp_key: Option<PathBuf>,
}

/// All that is needed to reach the control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Address without a trailing slash.
    pub mcp: String,
    /// The authority's certificate file.
    pub ca: PathBuf,
    /// The operator's certificate file.
    pub cert: PathBuf,
    /// The operator's key file.
    pub key: PathBuf,
}

/// `compliancectl.toml`. Relative paths are relative to the file's folder.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    mcp: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Connection {
    /// Puts the sources together.
    pub fn resolve(&self) -> Result<Endpoint, Error> {
        self.resolve_with(|name| std::env::var_os(name).map(PathBuf::from))
    }

    fn resolve_with(&self, env: impl Fn(&str) -> Option<PathBuf>) -> Result<Endpoint, Error> {
        let file = self.read_file()?;
        let path = |option: &Option<PathBuf>, name: &str, in_file: Option<PathBuf>, what: &str| {
            let (flag, variable) =
                (format!("--mcp-{name}"), format!("COMPLIANCECTL_{}", name.to_uppercase()));
            let found = option.clone().or_else(|| env(&variable)).or(in_file);
            found.ok_or_else(|| missing(what, &flag, &variable, name))
        };
        let from_env = || env("COMPLIANCECTL_MCP").map(|url| url.to_string_lossy().into_owned());
        let mcp = self.mcp.clone().or_else(from_env).or(file.mcp);
        let mcp = mcp.ok_or_else(|| {
            missing("the control plane's address", "--mcp", "COMPLIANCECTL_MCP", "mcp")
        })?;
        Ok(Endpoint {
            mcp: mcp.trim_end_matches('/').to_owned(),
            ca: path(&self.mcp_ca, "ca", file.ca, "the authority's certificate")?,
            cert: path(&self.mcp_cert, "cert", file.cert, "the operator's certificate")?,
            key: path(&self.mcp_key, "key", file.key, "the operator's key")?,
        })
    }

    fn read_file(&self) -> Result<ConfigFile, Error> {
        let default = Path::new("compliancectl.toml");
        let path = match &self.config {
            Some(path) => path,
            None if default.exists() => default,
            None => return Ok(ConfigFile::default()),
        };
        let file: ConfigFile = compliance_daemon::config::read(path)?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let beside = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        Ok(ConfigFile {
            mcp: file.mcp,
            ca: beside(file.ca),
            cert: beside(file.cert),
            key: beside(file.key),
        })
    }
}

fn missing(what: &str, flag: &str, variable: &str, key: &str) -> Error {
    Error::Usage(format!(
        "{what} is not known: give {flag}, set {variable}, or write `{key}` into compliancectl.toml"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        (dir, Connection { config: Some(path), ..Connection::default() })
    }

    #[test]
    fn an_option_goes_before_the_environment_and_that_before_the_file() {
        let (dir, mut connection) =
            file("mcp = \"https://file/\"\nca = \"ca.pem\"\ncert = \"/c.pem\"\nkey = \"k\"\n");
        let env = |name: &str| (name == "COMPLIANCECTL_CERT").then(|| PathBuf::from("env.pem"));
        connection.mcp_key = Some("option.key".into());
        let endpoint = connection.resolve_with(env).unwrap();
        assert_eq!(endpoint.mcp, "https://file");
        assert_eq!(endpoint.ca, dir.path().join("ca.pem"));
        assert_eq!(endpoint.cert, Path::new("env.pem"));
        assert_eq!(endpoint.key, Path::new("option.key"));
    }

    #[test]
    fn what_is_missing_is_named_with_the_three_ways_to_give_it() {
        let (_dir, connection) = file("mcp = \"https://x\"\n");
        let error = connection.resolve_with(|_| None).unwrap_err().to_string();
        for way in ["--mcp-ca", "COMPLIANCECTL_CA", "`ca`"] {
            assert!(error.contains(way), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused_with_the_nearest() {
        let (_dir, connection) = file("crt = \"x\"\n");
        let error = connection.resolve_with(|_| None).unwrap_err().to_string();
        assert!(error.contains("did you mean `cert`?"), "{error}");
    }
}
