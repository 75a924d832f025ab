//! Where everything lies, and the configuration files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use compliance_protocol::name::{Site, Tenant};
use serde::Deserialize;
use toml::Value;

use super::failure::Failure;
use crate::Error;

/// The longest path of a Unix socket that Linux takes, in bytes (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// The paths of a demonstration; everything lies below one directory.
#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// A directory that exists and is empty.
    pub(super) fn new(root: PathBuf) -> Result<Self, Failure> {
        let dir = Self(root);
        if dir.socket().as_os_str().len() > MAX_SOCKET_PATH {
            return Err(Error::Usage(format!(
                "{} is too long a path for a Unix socket in it: name a shorter one with --dir",
                dir.0.display()
            ))
            .into());
        }
        Ok(dir)
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    /// The operator's keys.
    pub(super) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// What `compliance-mcp init` makes.
    pub(super) fn mcp(&self) -> PathBuf {
        self.0.join("mcp")
    }

    pub(super) fn mcp_config(&self) -> PathBuf {
        self.mcp().join("mcp.toml")
    }

    pub(super) fn listening(&self) -> PathBuf {
        self.mcp().join("data/listening.json")
    }

    /// What is on the appliance.
    pub(super) fn site(&self) -> PathBuf {
        self.0.join("site")
    }

    pub(super) fn executor_config(&self) -> PathBuf {
        self.site().join("executor.toml")
    }

    pub(super) fn executor_data(&self) -> PathBuf {
        self.site().join("data")
    }

    pub(super) fn agent_config(&self) -> PathBuf {
        self.site().join("agent.toml")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.site().join("executor.sock")
    }

    pub(super) fn trust(&self) -> PathBuf {
        self.site().join("trust.dsse.json")
    }

    pub(super) fn baseline(&self) -> PathBuf {
        self.site().join("baseline.dsse.json")
    }

    /// The backup job.
    pub(super) fn job(&self) -> PathBuf {
        self.0.join("job")
    }

    /// The exported evidence.
    pub(super) fn evidence(&self) -> PathBuf {
        self.0.join("evidence")
    }

    /// One process's log.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    pub(super) fn logs(&self) -> Vec<PathBuf> {
        ["mcp", "executor", "agent"].map(|name| self.log(name)).to_vec()
    }
}

/// Where the control plane listens: its `listening.json`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Listening {
    pub(super) appliance: SocketAddr,
    pub(super) operator: SocketAddr,
    pub(super) console: SocketAddr,
}

impl Listening {
    /// Loopback, each port whatever is free.
    pub(super) fn anywhere() -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { appliance: any, operator: any, console: any }
    }
}

/// Sets the listeners in a `mcp.toml`.
pub(super) fn set_listeners(config: &str, at: Listening) -> Result<String, String> {
    let mut config: toml::Table =
        config.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let address = |at: SocketAddr| Value::String(at.to_string());
    config.insert("listen".to_owned(), address(at.appliance));
    for (section, at) in [("operator", at.operator), ("console", at.console)] {
        let table = config.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
        let table = table.as_table_mut().ok_or_else(|| format!("`{section}` is not a table"))?;
        table.insert("listen".to_owned(), address(at));
    }
    Ok(config.to_string())
}

/// `executor.toml`.
pub(super) fn executor(
    dir: &Directory,
    tenant: &Tenant,
    site: &Site,
    uid: u32,
    opens: &str,
    machine_id: &Path,
) -> String {
    let quote = |path: PathBuf| quoted(&path);
    format!(
        r#"tenant = "{tenant}"
site = "{site}"
mode = "direct"
data_dir = {data}
socket = {socket}
agent_uid = {uid}
trust = {trust}
baseline = {baseline}
machine_id = {machine_id}
round_interval_ms = 300

# Hours away from the demonstration, so that it is closed.
[[window]]
start = "{opens}"
length_min = 60
zone = "UTC"

[heal]
backups = "auto"
min_interval_s = 1
"#,
        data = quote(dir.executor_data()),
        socket = quote(dir.socket()),
        trust = quote(dir.trust()),
        baseline = quote(dir.baseline()),
        machine_id = quoted(machine_id),
    )
}

/// `agent.toml`.
pub(super) fn agent(dir: &Directory, uid: u32, mcp: SocketAddr) -> String {
    let site = dir.site();
    format!(
        r#"mcp_url = "https://{mcp}"
socket = {socket}
executor_uid = {uid}
poll_interval_ms = 250
state_file = {state}

[tls]
ca = {ca}
certificate = {certificate}
key = {key}
"#,
        socket = quoted(&dir.socket()),
        state = quoted(&site.join("agent-state.json")),
        ca = quoted(&site.join("ca.pem")),
        certificate = quoted(&site.join("tls.pem")),
        key = quoted(&dir.executor_data().join("tls.key")),
    )
}

/// `compliancectl.toml`, for who looks around afterwards.
pub(super) fn operator(dir: &Directory, mcp: SocketAddr) -> String {
    let offline = dir.mcp().join("offline");
    format!(
        "mcp = \"https://{mcp}\"\nca = {}\ncert = {}\nkey = {}\n",
        quoted(&offline.join("ca.pem")),
        quoted(&offline.join("operator-admin.pem")),
        quoted(&offline.join("operator-admin.key")),
    )
}

/// A path as a TOML string.
pub(super) fn quoted(path: &Path) -> String {
    Value::String(path.display().to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_set_whatever_else_the_file_says() {
        let text = "tenant = \"acme\"\nlisten = \"0.0.0.0:8443\"\n[operator]\nlisten = \"127.0.0.1:8444\"\n";
        let set = set_listeners(text, Listening::anywhere()).unwrap();
        let set: toml::Table = set.parse().unwrap();
        assert_eq!(set["listen"].as_str(), Some("127.0.0.1:0"));
        assert_eq!(set["operator"]["listen"].as_str(), Some("127.0.0.1:0"));
        assert_eq!(set["console"]["listen"].as_str(), Some("127.0.0.1:0"));
        assert_eq!(set["tenant"].as_str(), Some("acme"));
    }

    #[test]
    fn a_directory_with_quotes_in_its_name_is_still_a_string() {
        let dir = Directory::new(PathBuf::from("/tmp/a \"b\" \\c")).unwrap();
        let at = "127.0.0.1:1".parse().unwrap();
        let config: toml::Table = agent(&dir, 1000, at).parse().unwrap();
        assert_eq!(config["socket"].as_str(), Some("/tmp/a \"b\" \\c/site/executor.sock"));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused_at_once() {
        assert!(Directory::new(PathBuf::from(format!("/{}", "x".repeat(100)))).is_err());
    }
}
