//! Waiting for something to happen, with a deadline. Nothing here waits for a fixed time.

use std::time::Duration;

use super::failure::Failure;
use super::spawn::Cast;

/// Whatever takes longer on this machine has failed.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// How often is looked.
const PACE: Duration = Duration::from_millis(15);

/// Looks until there is something to see. Fails at once when one of the processes has ended.
pub(super) async fn until<T>(
    what: &str,
    cast: &Cast,
    mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
) -> Result<T, Failure> {
    let looking = async {
        loop {
            cast.all_run()?;
            if let Some(seen) = look().await? {
                return Ok(seen);
            }
            tokio::time::sleep(PACE).await;
        }
    };
    match tokio::time::timeout(LIMIT, looking).await {
        Ok(seen) => seen,
        Err(_) => Err(Failure::Timeout { what: what.to_owned(), limit: LIMIT }),
    }
}
