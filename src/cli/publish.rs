//! `hem publish`.

mod messages;
mod records;
mod requests;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use self::records::Brokers;
use super::exit::{Exit, Failure};
use super::{Global, Outcome, output};
use crate::config::scalar::HttpUrl;
use crate::config::{Config, NcmpSource, Source};
use crate::event::ncmp::SavedRecord;
use crate::event::saved::{self, SavedMessage};
use crate::event::sending::{NotSendable, Request, Sending, sending};
use crate::sources::opennebula::zmtp::Endpoint;

/// Send saved events as the systems do that they came from
///
/// Without `--to` it acts as an OpenNebula hook manager: it binds a PUB and a REP socket as oned's does, waits for a subscriber, publishes,
/// and ends when everything is written; replies are acknowledged. With `--to` it sends requests (webhooks, callbacks of ESC, notifications
/// of Masakari) to an address, or records of NCMP to a Kafka broker, and ends when each was taken. What answers with an error ends it with
/// exit code 1. ESC's NETCONF notifications can be sent by ESC alone: `hem emit` hands them to a daemon.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem publish examples/opennebula/events/*.xml
  hem publish events.jsonl --rate 100 --repeat 10
  hem publish events.jsonl.gz#17 --bind tcp://127.0.0.1:2101
  hem publish examples/webhook/events/push.json --to http://127.0.0.1:8080/deploy --header 'Authorization: Bearer TOKEN'
  hem publish examples/esc/events/callback-*.json --to http://127.0.0.1:8081/esc
  hem publish examples/masakari/events/vm-failed.json --to http://127.0.0.1:15868/v1/notifications --header @token.txt
  hem publish examples/ncmp/events/*.json --to kafka://127.0.0.1:9092
  hem publish examples/ncmp/events/*.json --to ncmp1      # a source of hem.yaml, with its TLS and its password")]
pub(super) struct Arguments {
    /// Saved events: .xml, .b64, .json, .jsonl, or one line of it, FILE.jsonl#17; each also as .gz
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Where to send requests, http[s]://HOST[:PORT]/PATH, or records, kafka://HOST:PORT[,HOST:PORT] or the name of a source of type ncmp
    #[arg(long, value_name = "ADDRESS")]
    to: Option<Destination>,
    /// A header of every request, `NAME: VALUE`; @FILE reads some from a file, one a line
    #[arg(long = "header", value_name = "HEADER", requires = "to")]
    headers: Vec<String>,
    /// Who may vouch for an https address [default: the system's authorities]
    #[arg(long, value_name = "FILE", requires = "to")]
    ca_file: Option<PathBuf>,
    /// The topic of the records, whatever the files say
    #[arg(long, value_name = "NAME", requires = "to")]
    topic: Option<String>,
    /// Where to publish; port 0 takes a free one
    #[arg(
        long,
        value_name = "ENDPOINT",
        default_value = "tcp://127.0.0.1:2101",
        conflicts_with = "to"
    )]
    bind: Endpoint,
    /// Where to take replies; port 0 takes a free one
    #[arg(
        long,
        value_name = "ENDPOINT",
        default_value = "tcp://127.0.0.1:2102",
        conflicts_with = "to"
    )]
    replies: Endpoint,
    /// Events a second [default: as fast as they are taken]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Publish everything that many times
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    repeat: u32,
    /// Do not wait for a subscriber
    #[arg(long, conflicts_with = "to")]
    no_wait: bool,
}

impl Arguments {
    /// An option that was given and is for another kind of destination.
    fn without_meaning(&self) -> Option<&'static str> {
        let is_over_http = matches!(self.to, Some(Destination::Http(_)));
        let options = [
            ("--header", !self.headers.is_empty() && !is_over_http),
            ("--ca-file", self.ca_file.is_some() && !is_over_http),
            ("--topic", self.topic.is_some() && is_over_http),
        ];
        let mut without = options.into_iter().filter(|(_, is_without)| *is_without);
        without.next().map(|(option, _)| option)
    }
}

/// Where saved events are sent.
#[derive(Debug, Clone)]
enum Destination {
    /// Requests.
    Http(HttpUrl),
    /// Records; what a client of Kafka begins with.
    Kafka(String),
    /// Records to the brokers of a source of `hem.yaml`.
    Source(String),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(brokers) = text.strip_prefix("kafka://") {
            return match brokers {
                "" => Err("a broker is missing: kafka://HOST:PORT".to_owned()),
                brokers => Ok(Self::Kafka(brokers.to_owned())),
            };
        }
        let is_name = !text.is_empty() && !text.contains([':', '/']);
        if is_name {
            return Ok(Self::Source(text.to_owned()));
        }
        text.parse().map(Self::Http).map_err(|_| {
            "it is neither http[s]://HOST[:PORT]/PATH nor kafka://HOST:PORT, and no name of a source"
                .to_owned()
        })
    }
}

/// What is sent, with the name of the file that it is from.
struct Saved<T> {
    file: String,
    event: T,
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    if let (Some(destination), Some(option)) = (&arguments.to, arguments.without_meaning()) {
        let what = match destination {
            Destination::Http(_) => "requests, which have no topic",
            Destination::Kafka(_) | Destination::Source(_) => "records, not requests over HTTP",
        };
        return Err(Failure::new(
            Exit::Usage,
            format!("`{option}` has no meaning there: `--to` leads to {what}"),
        ));
    }
    let saved = read(&arguments)?;
    let published = match &arguments.to {
        None => {
            let saved = of_one_kind(saved, None)?;
            super::wait_for_value(messages::publish(&arguments, &saved))?
        }
        Some(Destination::Http(url)) => {
            let saved = of_one_kind(saved, Some("http[s]://HOST[:PORT]/PATH"))?;
            super::wait_for_value(requests::send(&arguments, url, &saved))?
        }
        Some(Destination::Kafka(brokers)) => {
            let saved = of_one_kind(saved, Some("kafka://HOST:PORT"))?;
            super::wait_for_value(records::produce(&arguments, &Brokers::Named(brokers), &saved))?
        }
        Some(Destination::Source(name)) => {
            let saved = of_one_kind(saved, Some("a source that reads Kafka"))?;
            let config = global.config()?;
            let brokers = Brokers::Of(source(&config, name)?, config.redaction());
            super::wait_for_value(records::produce(&arguments, &brokers, &saved))?
        }
    };
    if global.json {
        output::print_json(&serde_json::json!({ "published": published }))?;
    } else {
        output::say(&format!("published {}", output::count(published)));
    }
    Ok(Exit::Ok)
}

/// The source of that name, which has to be one that reads Kafka: how others are reached from elsewhere, only those who set them up know.
fn source<'a>(config: &'a Config, name: &str) -> Result<&'a NcmpSource, Failure> {
    match config.sources.get(name) {
        Some(Source::Ncmp(source)) => Ok(source),
        Some(_) => Err(Failure::new(
            Exit::Usage,
            format!("the source `{name}` is of another type than `ncmp`"),
        )
        .with_hint("say its address: `--to http[s]://HOST[:PORT]/PATH`")),
        None => Err(Failure::new(
            Exit::Usage,
            format!("the configuration has no source `{name}`"),
        )),
    }
}

fn read(arguments: &Arguments) -> Result<Vec<Saved<Sending>>, Failure> {
    let mut all = Vec::new();
    for named in &arguments.files {
        let (path, line) = saved::locate(named);
        let messages = saved::messages(&path, line).map_err(|error| Failure::of(Exit::Failed, &error))?;
        for message in messages {
            let file = named.display().to_string();
            match sending(&message) {
                Ok(event) => all.push(Saved { file, event }),
                Err(why) => return Err(not_sendable(&file, &why)),
            }
        }
    }
    Ok(all)
}

fn not_sendable(file: &str, why: &NotSendable) -> Failure {
    let failure = Failure::new(Exit::Failed, format!("cannot send `{file}`: {why}"));
    match why {
        NotSendable::Notification | NotSendable::Own | NotSendable::Observed => {
            failure.with_hint(format!("`hem emit {file}` hands it to a daemon"))
        }
        NotSendable::Unreadable(_) => failure,
    }
}

/// What travels in one way.
trait Travels: Sized {
    fn of(sending: Sending) -> Result<Self, Box<Sending>>;
}

impl Travels for SavedMessage {
    fn of(sending: Sending) -> Result<Self, Box<Sending>> {
        match sending {
            Sending::Message(message) => Ok(message),
            other => Err(other.into()),
        }
    }
}

impl Travels for Request {
    fn of(sending: Sending) -> Result<Self, Box<Sending>> {
        match sending {
            Sending::Request(request) => Ok(request),
            other => Err(other.into()),
        }
    }
}

impl Travels for SavedRecord {
    fn of(sending: Sending) -> Result<Self, Box<Sending>> {
        match sending {
            Sending::Record(record) => Ok(record),
            other => Err(other.into()),
        }
    }
}

/// Everything, where all of it travels in the way that leads to the destination; nothing is sent before that is clear.
fn of_one_kind<T: Travels>(
    saved: Vec<Saved<Sending>>,
    destination: Option<&str>,
) -> Result<Vec<Saved<T>>, Failure> {
    saved
        .into_iter()
        .map(|Saved { file, event }| match T::of(event) {
            Ok(event) => Ok(Saved { file, event }),
            Err(other) => Err(another_way(&file, &other, destination)),
        })
        .collect()
}

fn another_way(file: &str, sending: &Sending, destination: Option<&str>) -> Failure {
    let (what, cure) = match sending {
        Sending::Message(_) => ("a message of OpenNebula", "leave out `--to`"),
        Sending::Request(_) => ("a request over HTTP", "say `--to http[s]://HOST[:PORT]/PATH`"),
        Sending::Record(_) => (
            "a record of NCMP",
            "say `--to kafka://HOST:PORT` or name a source of type `ncmp`",
        ),
    };
    let to = match destination {
        Some(destination) => format!("not sent to {destination}"),
        None => "not published by a hook manager".to_owned(),
    };
    Failure::new(Exit::Usage, format!("`{file}` is {what}, which is {to}")).with_hint(cure)
}

/// Sends everything as often and as fast as is asked for; the progress is shown on a terminal. Gives how many were sent.
async fn each<T>(
    arguments: &Arguments,
    saved: &[Saved<T>],
    mut send: impl AsyncFnMut(&Saved<T>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let total = saved.len() as u64 * u64::from(arguments.repeat);
    // It hides itself where standard error is no terminal.
    let progress = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{pos} of {len} events, {per_sec}, {eta} left {wide_bar}")
    {
        progress.set_style(style);
    }
    let mut pace = arguments
        .rate
        .map(|rate| tokio::time::interval(Duration::from_secs(1) / rate));
    for _ in 0..arguments.repeat {
        for one in saved {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            if let Err(failure) = send(one).await {
                progress.finish_and_clear();
                return Err(failure);
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(total)
}
