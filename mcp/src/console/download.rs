//! The files that an auditor needs, exactly as they were signed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use compliance_protocol::evidence::Bundle;
use compliance_protocol::json;
use compliance_protocol::key::PublicKey;
use compliance_protocol::name::{Id, Site};

use super::{Failure, Viewer};
use crate::app::{self, App};
use crate::body::Params;
use crate::operator::evidence::with_receipt;
use crate::operator::{site_name, site_row};
use crate::problem::Problem;
use crate::store::StoreError;

/// The name that an evidence key has in an export.
const KEY: &str = "evidence.pub";

/// One of a bundle's four files, by the name that it has in an export; or the key that verifies it.
pub(super) async fn file(
    State(app): State<Arc<App>>,
    _: Viewer,
    Params((site, ledger_id, sequence, file)): Params<(String, String, u64, String)>,
) -> Result<Response, Failure> {
    let name = site_name(&site)?;
    let nothing = || Problem::not_found("There is no such file.");
    let ledger_id = ledger_id.parse().map_err(|_| nothing())?;
    if file == KEY {
        return key_of(&app, name, ledger_id, sequence).await;
    }
    let (_, files, receipt) =
        app.blocking(move |app| with_receipt(app, &name, ledger_id, sequence)).await?;
    let bundle: Bundle = json::from_canonical(&files.json)
        .map_err(|_| StoreError::Damaged("a stored bundle cannot be read"))?;
    let ending = file.strip_prefix(&bundle.file_stem()).ok_or_else(nothing)?;
    let (media_type, bytes) = match ending {
        ".json" => ("application/json", files.json),
        ".json.sig" => ("application/octet-stream", files.sig),
        ".dsse.json" => ("application/json", files.dsse),
        ".tlog-proof" => ("text/plain; charset=utf-8", receipt.into_bytes()),
        _ => return Err(nothing().into()),
    };
    Ok(attachment(&file, media_type, bytes))
}

/// The evidence key that verifies a bundle: that of the newest trust file by which it does, since a machine that was
/// replaced had another one.
async fn key_of(
    app: &Arc<App>,
    name: Site,
    ledger_id: Id,
    sequence: u64,
) -> Result<Response, Failure> {
    let key = app
        .blocking(move |app| {
            app.store.read(|view| {
                let site = site_row(view, &name)?;
                let (_, files) = view
                    .evidence_files(&site, ledger_id, sequence)?
                    .ok_or_else(|| Problem::not_found(format!("{name} has no such bundle")))?;
                let keys = app::trusts(view, &site)?.into_iter().map(|trust| trust.roles.evidence);
                let key = keys.into_iter().find(|key| key.verifies(&files.json, &files.sig));
                let none = "No key that this site ever had verifies this bundle.";
                key.ok_or_else(|| Problem::not_found(none))
            })
        })
        .await?;
    key_file(&key)
}

/// The key that verifies what a site signs now, SPKI PEM.
pub(super) async fn evidence_key(
    State(app): State<Arc<App>>,
    _: Viewer,
    Params(site): Params<String>,
) -> Result<Response, Failure> {
    let name = site_name(&site)?;
    let trust = app
        .blocking(move |app| app.store.read(|view| Ok(app::trust(view, &site_row(view, &name)?)?)))
        .await?;
    key_file(&trust.roles.evidence)
}

/// The key that verifies receipts, a C2SP vkey.
pub(super) async fn log_key(State(app): State<Arc<App>>, _: Viewer) -> Response {
    let line = format!("{}\n", app.log);
    attachment("checkpoint.vkey", "text/plain; charset=utf-8", line.into_bytes())
}

fn key_file(key: &PublicKey) -> Result<Response, Failure> {
    let pem = key.to_pem().map_err(|_| StoreError::Damaged("an evidence key"))?;
    Ok(attachment(KEY, "application/x-pem-file", pem.into_bytes()))
}

fn attachment(name: &str, media_type: &'static str, bytes: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers =
        [(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (headers, bytes).into_response()
}
