//! `hem publish`.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{Exit, Failure};
use super::{Global, Outcome, output};
use crate::event::saved::{self, SavedMessage};
use crate::sources::opennebula::publisher::Publisher;
use crate::sources::opennebula::zmtp::Endpoint;

/// Act as an OpenNebula hook manager: publish saved events
///
/// Binds a PUB and a REP socket as oned's hook manager does, waits for a subscriber, publishes, and ends when everything
/// is written. Replies are acknowledged.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem publish examples/events/*.xml
  hem publish events.jsonl --rate 100 --repeat 10
  hem publish events.jsonl.gz#17 --bind tcp://127.0.0.1:2101")]
pub(super) struct Arguments {
    /// Saved events: .xml, .b64, .jsonl, or one line of it, FILE.jsonl#17; each also as .gz
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where to publish; port 0 takes a free one
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp://127.0.0.1:2101")]
    bind: Endpoint,
    /// Where to take replies; port 0 takes a free one
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp://127.0.0.1:2102")]
    replies: Endpoint,
    /// Events a second [default: as fast as they are taken]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Publish everything that many times
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    repeat: u32,
    /// Do not wait for a subscriber
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    let mut messages = Vec::new();
    for file in &arguments.files {
        let (path, line) = saved::locate(file);
        messages.extend(saved::messages(&path, line).map_err(|error| Failure::of(Exit::Failed, &error))?);
    }
    let published = super::wait_for_value(publish(&arguments, &messages))?;
    if global.json {
        output::print_json(&serde_json::json!({ "published": published }))?;
    } else {
        output::say(&format!("published {}", output::count(published)));
    }
    Ok(Exit::Ok)
}

async fn publish(arguments: &Arguments, messages: &[SavedMessage]) -> Result<u64, Failure> {
    let (publisher, mut replies) = Publisher::bind(&arguments.bind, &arguments.replies)
        .await
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    output::say(&format!(
        "publishing on {}, taking replies on {}",
        publisher.events(),
        publisher.replies()
    ));
    let sending = async {
        if !arguments.no_wait {
            publisher.wait_for_subscriber().await;
        }
        let total = messages.len() as u64 * u64::from(arguments.repeat);
        // It hides itself where standard error is no terminal.
        let progress = ProgressBar::new(total);
        if let Ok(style) =
            ProgressStyle::with_template("{pos} of {len} events, {per_sec}, {eta} left {wide_bar}")
        {
            progress.set_style(style);
        }
        let mut pace = arguments
            .rate
            .map(|rate| tokio::time::interval(Duration::from_secs(1) / rate));
        for _ in 0..arguments.repeat {
            for message in messages {
                if let Some(pace) = &mut pace {
                    pace.tick().await;
                }
                let content = BASE64.encode(&message.document);
                publisher.publish(&message.key, content.as_bytes()).await;
                progress.inc(1);
            }
        }
        progress.finish_and_clear();
        publisher.finish().await;
        total
    };
    let answered = async { while replies.recv().await.is_some() {} };
    tokio::pin!(sending, answered);
    tokio::select! {
        total = &mut sending => Ok(total),
        () = &mut answered => Ok(sending.await),
    }
}
