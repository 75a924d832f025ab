//! Why a command could not be carried out.

use std::io;
use std::path::PathBuf;

use compliance_checks::firewall::NotARuleset;
use compliance_daemon::config::ConfigError;
use compliance_pki::PkiError;
use compliance_protocol::envelope::{EnvelopeError, OpenError};
use compliance_protocol::evidence::BundleError;
use compliance_protocol::json::JsonError;
use compliance_protocol::key::KeyError;
use compliance_protocol::tlog::VerifierKeyError;
use compliance_protocol::trust::TrustError;
use compliance_signing::PrivateKeyError;

/// Why a command could not be carried out; each is exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A new file is there already.
    #[error("{0} is there already and is not overwritten: move it away, or choose another place")]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The result cannot be printed.
    #[error("cannot print the result: {0}")]
    Print(#[source] io::Error),
    /// A directory that must be new is not empty.
    #[error("{0} is not empty; name a new directory")]
    NotEmpty(PathBuf),
    /// The options contradict each other or leave something open.
    #[error("{0}")]
    Usage(String),
    /// The configuration file is not taken.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A private key is not taken.
    #[error("{path}: {source}")]
    PrivateKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PrivateKeyError,
    },
    /// A public key is not taken.
    #[error("{path}: {source}")]
    PublicKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
    /// The evidence log's key is not taken.
    #[error("{path}: {source}")]
    LogKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: VerifierKeyError,
    },
    /// A trust file is not taken.
    #[error("the trust file {origin} is not taken: {source}")]
    Trust {
        /// Where it came from.
        origin: String,
        /// Why not.
        source: Box<TrustError>,
    },
    /// An envelope cannot be read.
    #[error("{path}: {source}")]
    Envelope {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: EnvelopeError,
    },
    /// An envelope's signatures or payload do not hold.
    #[error("{path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: OpenError,
    },
    /// Evidence from the control plane does not verify.
    #[error(
        "bundle {sequence} from the control plane does not verify, so nothing of it was written: {source}"
    )]
    Evidence {
        /// The bundle's sequence.
        sequence: u64,
        /// Why not.
        source: BundleError,
    },
    /// The input is not a ruleset.
    #[error("this is not a ruleset: {0}; give the output of `nft -j -s -n list ruleset`")]
    Ruleset(#[source] NotARuleset),
    /// The keys do not make up a key set or a trust file.
    #[error("these keys do not make up a trust file: {0}; no key may have two roles")]
    KeySet(#[source] KeyError),
    /// A key cannot be made.
    #[error("the new key cannot be used: {0}")]
    NewKey(#[from] PrivateKeyError),
    /// A document cannot be signed.
    #[error("this cannot be signed: {0}")]
    Sign(#[from] JsonError),
    /// A certificate cannot be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The kernel gave no random bytes.
    #[error("the kernel gave no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The operator's certificate and key cannot be used.
    #[error(transparent)]
    Identity(#[from] compliance_transport::IdentityError),
    /// The control plane does not answer.
    #[error(transparent)]
    Transport(#[from] compliance_transport::Error),
    /// The control plane refuses.
    #[error("the control plane refuses ({status} {title}): {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The kind of problem in a few words.
        title: String,
        /// What it said.
        detail: String,
    },
    /// The demonstration could not go on.
    #[error("the demonstration could not go on: {0}")]
    Demo(#[from] Box<crate::demo::Failure>),
    /// The control plane's answer is not what it should be.
    #[error("the control plane's answer to {path} is not what it should be: {detail}")]
    Answer {
        /// What was asked.
        path: String,
        /// What is wrong.
        detail: String,
    },
}
