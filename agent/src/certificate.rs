//! Whether a new certificate may take the place of the one in use, and putting it there. Whoever asks for one
//! looks, and so does whoever puts it in place, as root: neither trusts the other, nor the control plane.

use std::fmt;
use std::path::{Path, PathBuf};

use compliance_daemon::files;
use compliance_protocol::time::{Span, Timestamp};
use compliance_transport::{Client, Identity, IdentityError, Limits};

use crate::config::Tls;

/// The largest certificate, with its chain, and the largest key, in bytes.
pub const MAX: usize = 64 * 1024;

/// The one in use is replaced in its last 30 days.
const DUE: Span = Span::from_hours(30 * 24);

/// A new one is good for at least this long, and so for longer than what it replaces.
const GOOD_FOR: Span = Span::from_hours(45 * 24);

/// What is in use: the authority, the certificate and its key, all PEM.
pub struct InUse {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What came of putting a certificate in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is in place.
    Done,
    /// It was already.
    Already,
    /// The one in use is good for longer than 30 days.
    NotDue,
}

/// Why none was put in place. The one in use stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// What is in use cannot be read.
    #[error(transparent)]
    InUse(#[from] IdentityError),
    /// What was received cannot be read.
    #[error("cannot read the received certificate {path}: {source}; the one in use stays")]
    Received {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is of another authority, for another key, ends too soon, or is no certificate.
    #[error(
        "the received certificate is not put in place: {0}; the one in use stays. Ask the operator who answered with `compliancectl site renew`"
    )]
    Unfit(#[source] IdentityError),
    /// It cannot be written.
    #[error("cannot write the new certificate to {path}: {source}; the one in use stays")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl InUse {
    /// Reads the three files.
    pub fn read(tls: &Tls) -> Result<Self, IdentityError> {
        let read = |path: &Path| {
            files::read(path, MAX)
                .map_err(|source| IdentityError::Read { path: path.to_owned(), source })
        };
        Ok(Self {
            authority: read(&tls.ca)?,
            certificate: read(&tls.certificate)?,
            key: read(&tls.key)?,
        })
    }

    /// Who we are by it.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        Identity::from_pem(&self.authority, &self.certificate, &self.key)
    }

    /// Whether it is time to replace it.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let then = now.plus(DUE);
        !self.identity().is_ok_and(|identity| identity.would_be_taken(then).is_ok())
    }

    /// Whether `new` may take its place: whoever owns the control plane must not be able to lock us out, so it
    /// is of the same authority, for our key, and good for longer than one that is due.
    pub fn may_become(&self, new: &[u8], now: Timestamp) -> Result<(), IdentityError> {
        let new = Identity::from_pem(&self.authority, new, &self.key)?;
        new.would_be_taken(now)?;
        new.would_be_taken(now.plus(GOOD_FOR))?;
        // Certificate and key are of one pair.
        Client::new(new, || None, Limits::default()).map(drop)
    }
}

impl fmt::Debug for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InUse").finish_non_exhaustive()
    }
}

/// Puts the certificate in the file `received`, which may be anybody's, in the place of the one in use.
pub fn put(tls: &Tls, received: &Path, now: Timestamp) -> Result<Put, PutError> {
    let held = InUse::read(tls)?;
    if !held.is_due(now) {
        return Ok(Put::NotDue);
    }
    let new = files::read_untrusted(received, MAX)
        .map_err(|source| PutError::Received { path: received.to_owned(), source })?;
    if new == held.certificate {
        return Ok(Put::Already);
    }
    held.may_become(&new, now).map_err(PutError::Unfit)?;
    files::replace(&tls.certificate, &new, 0o644)
        .map_err(|source| PutError::Write { path: tls.certificate.clone(), source })?;
    Ok(Put::Done)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        PKCS_ED25519,
    };
    use tempfile::TempDir;
    use time::OffsetDateTime;

    const NOW: Timestamp = Timestamp::from_millis(1_780_000_000_000);

    fn key() -> KeyPair {
        KeyPair::generate_for(&PKCS_ED25519).unwrap()
    }

    struct Authority {
        pem: String,
        issuer: Issuer<'static, KeyPair>,
    }

    impl Authority {
        fn new() -> Self {
            let (key, mut params) = (key(), CertificateParams::default());
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let pem = params.self_signed(&key).unwrap().pem();
            Self { pem, issuer: Issuer::new(params, key) }
        }

        /// A certificate for that key, which began a day ago and ends in so many days.
        fn issue(&self, key: &KeyPair, usage: ExtendedKeyUsagePurpose, days: i64) -> String {
            let now = NOW.as_millis() / 1000;
            let day = |n: i64| OffsetDateTime::from_unix_timestamp(now + n * 86_400).unwrap();
            let mut params = CertificateParams::default();
            (params.not_before, params.not_after) = (day(-1), day(days));
            params.extended_key_usages = vec![usage];
            params.signed_by(key, &self.issuer).unwrap().pem()
        }

        fn client(&self, key: &KeyPair, days: i64) -> String {
            self.issue(key, ExtendedKeyUsagePurpose::ClientAuth, days)
        }
    }

    /// An appliance, whose certificate ends in so many days.
    struct Site {
        dir: TempDir,
        authority: Authority,
        key: KeyPair,
        old: String,
    }

    impl Site {
        fn whose_certificate_ends_in(days: i64) -> Self {
            let (dir, authority, key) = (TempDir::new().unwrap(), Authority::new(), key());
            let old = authority.client(&key, days);
            let it = Self { dir, authority, key, old };
            fs::write(it.tls().ca, &it.authority.pem).unwrap();
            fs::write(it.tls().certificate, &it.old).unwrap();
            fs::write(it.tls().key, it.key.serialize_pem()).unwrap();
            it
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn tls(&self) -> Tls {
            let path = |name| self.path(name);
            Tls { ca: path("ca.pem"), certificate: path("tls.pem"), key: path("tls.key") }
        }

        fn put(&self) -> Result<Put, PutError> {
            put(&self.tls(), &self.path("received.pem"), NOW)
        }

        fn receives(&self, bytes: impl AsRef<[u8]>) -> Result<Put, PutError> {
            fs::write(self.path("received.pem"), bytes).unwrap();
            self.put()
        }

        fn in_use(&self) -> String {
            fs::read_to_string(self.tls().certificate).unwrap()
        }
    }

    #[test]
    fn a_certificate_for_the_same_key_that_is_good_for_longer_is_put_in_place_once() {
        let it = Site::whose_certificate_ends_in(29);
        let new = it.authority.client(&it.key, 365);
        assert_eq!(it.receives(&new).unwrap(), Put::Done);
        assert_eq!(it.in_use(), new);
        assert_eq!(it.put().unwrap(), Put::NotDue);
        assert_eq!(it.in_use(), new);
    }

    #[test]
    fn what_was_received_a_year_ago_is_in_place_already() {
        let it = Site::whose_certificate_ends_in(29);
        assert_eq!(it.receives(&it.old).unwrap(), Put::Already);
    }

    #[test]
    fn one_that_has_ended_is_replaced_too() {
        let it = Site::whose_certificate_ends_in(-1);
        let new = it.authority.client(&it.key, 365);
        assert_eq!(it.receives(&new).unwrap(), Put::Done);
    }

    #[test]
    fn what_is_foreign_ends_too_soon_or_is_no_certificate_leaves_the_one_in_use() {
        let it = Site::whose_certificate_ends_in(29);
        let other = key();
        let server = ExtendedKeyUsagePurpose::ServerAuth;
        for (what, bytes) in [
            ("another key", it.authority.client(&other, 365)),
            ("another authority", Authority::new().client(&it.key, 365)),
            ("another use", it.authority.issue(&it.key, server, 365)),
            ("too short a life", it.authority.client(&it.key, 40)),
            ("its end", it.authority.client(&it.key, -1)),
            ("nothing in it", String::new()),
            ("noise in it", "noise".to_owned()),
            ("a key in it", other.serialize_pem()),
        ] {
            let refused = it.receives(&bytes);
            assert!(matches!(refused, Err(PutError::Unfit(_))), "{what}: {refused:?}");
            assert_eq!(it.in_use(), it.old, "{what}");
        }
    }

    #[test]
    fn one_that_is_not_due_is_not_replaced_by_an_older_one() {
        let it = Site::whose_certificate_ends_in(300);
        let older = it.authority.client(&it.key, 200);
        assert!(matches!(it.receives(&older), Ok(Put::NotDue)));
        assert_eq!(it.in_use(), it.old);
    }

    #[test]
    fn what_is_no_plain_file_of_a_certificates_size_is_neither_followed_nor_waited_for() {
        let it = Site::whose_certificate_ends_in(29);
        let received = it.path("received.pem");
        let new = it.authority.client(&it.key, 365);
        let unread = |what: &str| {
            let refused = it.put();
            assert!(matches!(refused, Err(PutError::Received { .. })), "{what}: {refused:?}");
            assert_eq!(it.in_use(), it.old, "{what}");
        };
        unread("nothing there");
        mkfifo(&received, Mode::S_IRWXU).unwrap();
        unread("a FIFO");
        fs::remove_file(&received).unwrap();
        fs::create_dir(&received).unwrap();
        unread("a folder");
        fs::remove_dir(&received).unwrap();
        fs::write(it.path("elsewhere.pem"), &new).unwrap();
        symlink(it.path("elsewhere.pem"), &received).unwrap();
        unread("a link");
        fs::remove_file(&received).unwrap();
        fs::write(&received, format!("{new}{}", " ".repeat(MAX))).unwrap();
        unread("more than a certificate");
    }
}
