//! `compliancectl console`: a way into the console for a browser.

use crate::api::Link;
use crate::output::Tone;
use crate::{Context, Error, Verdict};

/// Asks for a one-time link and its code, and prints them.
pub async fn run(context: &Context) -> Result<Verdict, Error> {
    let link: Link = context.control_plane()?.post("/api/v1/links", b"{}".to_vec()).await?;
    context.output.show(&link, |link, paint| {
        let strong = |text: &str| paint.tone(Tone::Strong, text);
        let code = link.code.as_ref().map(|code| format!("or type {} there\n", strong(code)));
        format!(
            "Open    {}\n        {}good once, until {}\n",
            strong(&link.url),
            code.map(|code| format!("{code}        ")).unwrap_or_default(),
            link.expires_at
        )
    })?;
    Ok(Verdict::Holds)
}
