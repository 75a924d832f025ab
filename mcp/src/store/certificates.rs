//! Requests for new certificates, and what an operator answered.

use compliance_protocol::key::PublicKey;
use compliance_protocol::name::Site;
use compliance_protocol::time::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;

use super::row::{parsed, time};
use super::{SiteRow, StoreError, Tx, View};

/// An appliance's request for a new certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateRow {
    /// The site.
    pub site: Site,
    /// The request, PEM.
    #[serde(rename = "csr")]
    pub request: String,
    /// When it was made.
    pub requested_at: Timestamp,
    /// The key that it is for.
    #[serde(skip)]
    pub public_key: [u8; 32],
    /// The new certificate, PEM, once an operator has put it.
    #[serde(skip)]
    pub certificate: Option<String>,
}

const COLUMNS: &str = "name, request, requested_at, public_key, certificate";

impl View<'_> {
    /// The requests that no operator has answered yet, the oldest first.
    pub fn pending_certificates(&self) -> Result<Vec<CertificateRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM certificates JOIN sites USING (site)
             WHERE certificate IS NULL ORDER BY requested_at, name"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], certificate_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The request of a site, answered or not.
    pub fn certificate(&self, site: &SiteRow) -> Result<Option<CertificateRow>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM certificates JOIN sites USING (site) WHERE site = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_row([site.key], certificate_row).optional()?)
    }
}

impl Tx<'_> {
    /// Stores a request in place of the last one.
    pub fn request_certificate(
        &self,
        site: &SiteRow,
        request: &str,
        key: &PublicKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached(
                "INSERT OR REPLACE INTO certificates (site, request, public_key, requested_at)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![site.key, request, key.as_bytes(), now.as_millis()])?;
        Ok(())
    }

    /// Stores the answer to the request of a site.
    pub fn answer_certificate(&self, site: &SiteRow, certificate: &str) -> Result<(), StoreError> {
        self.connection()
            .prepare_cached("UPDATE certificates SET certificate = ?2 WHERE site = ?1")?
            .execute(params![site.key, certificate])?;
        Ok(())
    }
}

fn certificate_row(row: &Row<'_>) -> rusqlite::Result<CertificateRow> {
    Ok(CertificateRow {
        site: parsed(row, 0)?,
        request: row.get(1)?,
        requested_at: time(row, 2)?,
        public_key: row.get(3)?,
        certificate: row.get(4)?,
    })
}
