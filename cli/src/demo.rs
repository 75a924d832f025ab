//! `compliancectl demo`: the whole story on this machine, with the real binaries as real processes.
//!
//! The demonstration is the operator, the person who enrols the appliance, and in one act a hostile
//! courier; nothing is mocked and nothing is switched off. Each act is a file of its own in `demo/acts`.

mod acts;
mod courier;
mod failure;
mod job;
mod operator;
mod settings;
mod spawn;
mod stage;
mod story;
mod wait;

use std::path::PathBuf;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

pub use failure::Failure;

use crate::{Context, Error, Verdict};
use stage::Stage;
use story::Story;

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep everything running at the end, until Ctrl-C.
    #[arg(long)]
    pub keep: bool,
    /// A new directory for everything [default: one in the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Carries out `demo`. However it ends, no process of it is left.
pub async fn run(context: &Context, args: &DemoArgs) -> Result<Verdict, Error> {
    let mut stage = Stage::new(args.dir.as_deref(), context.now).map_err(Box::new)?;
    let mut story = Story::new(context.output, stage.dir.root());
    let played = tokio::select! {
        biased; // With --keep a signal is the end of the play, not its interruption.
        played = play(&mut stage, &mut story, args.keep) => played,
        () = interrupted() => Err(Failure::Interrupted),
    };
    stage.stop().await;
    match played {
        Ok(()) => Ok(story.verdict()),
        Err(failure) => {
            story.break_off()?;
            Err(Error::Demo(Box::new(failure.with_logs(&stage.dir))))
        }
    }
}

async fn play(stage: &mut Stage, story: &mut Story, keep: bool) -> Result<(), Failure> {
    story.begin()?;
    let scene = acts::setup::play(stage, story).await?;
    acts::checks::play(stage, &scene, story).await?;
    acts::heal::play(stage, &scene, story).await?;
    acts::orders::play(stage, &scene, story).await?;
    acts::outage::play(stage, &scene, story).await?;
    acts::window::play(stage, &scene, story).await?;
    acts::proof::play(stage, &scene, story).await?;
    story.end(keep)?;
    if keep {
        interrupted().await;
    }
    Ok(())
}

/// Ends when somebody wants the demonstration to end.
async fn interrupted() {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        // Without handlers the signals end this process as they always do.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
        _ = hangup.recv() => (),
    }
}
