//! One file a command; thin: parse, ask, print.
//!
//! Data goes to standard output, everything else to standard error.

mod audit;
mod backend;
mod cancel;
mod check;
mod compare;
mod completions;
mod demo;
mod difference;
mod doctor;
mod emit;
mod events;
pub mod exit;
mod export;
mod hooks;
mod import;
mod import_records;
mod log;
mod man;
mod metrics;
mod mute;
mod onehem_server;
mod output;
mod pool_hooks;
mod publish;
#[cfg(test)]
mod reference;
mod reload;
mod retry;
mod run;
mod schema;
mod service;
mod show;
mod signals;
mod source;
mod status;
mod stop;
mod store;
mod test_match;
mod token;
mod try_once;
mod unmute;
mod when;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::exit::{EXIT_CODES, Exit, Failure};
use self::output::Style;
use crate::config::{Config, Overrides};
use crate::control::client::Client;

/// The commands by what they are for; a test sees to it that none is missing.
const HELP_TEMPLATE: &str = "{about-with-newline}
{usage-heading} {usage}

Run:
  run             Run the daemon
  demo            Show everything in one process, on a throw-away folder
  publish         Act as an OpenNebula hook manager: publish saved events

Write hooks:
  check           Check hem.yaml and hook files, and run their tests
  match           Say which hooks an event triggers, and why not the others
  try             Run one hook once on a saved event, without a daemon
  emit            Hand an event to the daemon
  schema          Print the JSON Schema of hook files or of hem.yaml, or the control API's OpenAPI document
  import          Turn OpenNebula's hooks into hook files, or onehem-server.conf into hem.yaml

See what happened:
  status          How the daemon does, and whether everything adds up
  events          What arrived
  log             What was run for it
  show            The whole story of an event or an execution
  audit           Who ordered what
  compare         What onehem-server ran, beside what hem did or would have run
  export          Write records as lines of JSON
  metrics         How the daemon does, in Prometheus' text format
  doctor          Look at all that hem needs, and say what to do

Step in:
  retry           Run executions again
  cancel          Cancel what waits, or end what runs
  mute            Hold executions back; their events are kept
  unmute          Take a mute back, and say what becomes of what it held
  stop            Stop a hook that runs wild: mute it, cancel what waits, end what runs
  hooks           List, show, enable and disable hooks
  reload          Read hem.yaml and the hooks folder now
  source          Say from where a source reads
  store           Save what is readable of a damaged store
  import-records  Take over records that were exported

Set up:
  token           Make a token for the control API over TCP
  completions     Print completions for a shell
  man             Print manual pages

Options:
{options}{after-help}
";

/// Runs your scripts when your cloud says something happened, keeps the record, and retries.
#[derive(Debug, Parser)]
#[command(
    name = "hem",
    version,
    help_template = HELP_TEMPLATE,
    after_help = format!("\n{EXIT_CODES}\n\n`hem COMMAND --help` says more, with examples."),
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes. Under a heading of its own: a command's help shows first what is the command's.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// The configuration file [default: /etc/hem/hem.yaml where there is one]
    #[arg(
        long,
        global = true,
        env = "HEM_CONFIG",
        value_name = "FILE",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// The daemon's socket, whatever the configuration says
    #[arg(
        long,
        global = true,
        env = "HEM_SOCKET",
        value_name = "PATH",
        hide_env_values = true
    )]
    socket: Option<PathBuf>,
    /// Print data as JSON; live feeds as one line each
    #[arg(long, global = true)]
    json: bool,
    /// Show times in UTC instead of local time
    #[arg(long, global = true)]
    utc: bool,
}

impl Global {
    fn config(&self) -> Result<Config, Failure> {
        let overrides = Overrides {
            socket: self.socket.clone(),
            ..Overrides::default()
        };
        Ok(Config::load(self.config.as_deref())?.with(overrides)?)
    }

    async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.config()?.control.socket).await?)
    }

    fn style(&self) -> Style {
        Style::of_stdout(self.utc)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Demo(demo::Arguments),
    Publish(publish::Arguments),
    Check(check::Arguments),
    Match(test_match::Arguments),
    Try(try_once::Arguments),
    Emit(emit::Arguments),
    Schema(schema::Arguments),
    Token(token::Arguments),
    Import(import::Arguments),
    Status(status::Arguments),
    Events(events::Arguments),
    Log(log::Arguments),
    Show(show::Arguments),
    Audit(audit::Arguments),
    Metrics(metrics::Arguments),
    Compare(compare::Arguments),
    Doctor(doctor::Arguments),
    Export(export::Arguments),
    Retry(retry::Arguments),
    Cancel(cancel::Arguments),
    Mute(mute::Arguments),
    Unmute(unmute::Arguments),
    Stop(stop::Arguments),
    Hooks(hooks::Arguments),
    Reload(reload::Arguments),
    Source(source::Arguments),
    Store(store::Arguments),
    ImportRecords(import_records::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// What a command gives back.
type Outcome = Result<Exit, Failure>;

/// Runs the program with these arguments (the program's name first).
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that went away is no error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    match dispatch(cli) {
        Ok(exit) => exit.into(),
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok.into(),
        Err(Failure::Output(error)) => {
            output::say(&format!("hem: cannot write to standard output: {error}"));
            Exit::Failed.into()
        }
        Err(Failure::Said { exit, message, hint }) => {
            output::say(&format!("hem: {message}"));
            if let Some(hint) = hint {
                output::say(&format!("hint: {hint}"));
            }
            exit.into()
        }
    }
}

fn dispatch(Cli { global, command }: Cli) -> Outcome {
    match command {
        Command::Run(arguments) => run::run(&global, arguments),
        Command::Demo(arguments) => demo::run(&global, arguments),
        Command::Publish(arguments) => publish::run(&global, arguments),
        Command::Check(arguments) => check::run(&global, arguments),
        Command::Match(arguments) => test_match::run(&global, arguments),
        Command::Try(arguments) => try_once::run(&global, arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Store(arguments) => store::run(&global, arguments),
        Command::Doctor(arguments) => doctor::run(&global, arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::Emit(arguments) => wait_for(emit::run(global, arguments)),
        Command::Status(arguments) => wait_for(status::run(global, arguments)),
        Command::Events(arguments) => wait_for(events::run(global, arguments)),
        Command::Log(arguments) => wait_for(log::run(global, arguments)),
        Command::Show(arguments) => wait_for(show::run(global, arguments)),
        Command::Audit(arguments) => wait_for(audit::run(global, arguments)),
        Command::Compare(arguments) => wait_for(compare::run(global, arguments)),
        Command::Metrics(arguments) => wait_for(metrics::run(global, arguments)),
        Command::Export(arguments) => wait_for(export::run(global, arguments)),
        Command::Import(arguments) => wait_for(import::run(global, arguments)),
        Command::ImportRecords(arguments) => wait_for(import_records::run(global, arguments)),
        Command::Retry(arguments) => wait_for(retry::run(global, arguments)),
        Command::Cancel(arguments) => wait_for(cancel::run(global, arguments)),
        Command::Mute(arguments) => wait_for(mute::run(global, arguments)),
        Command::Unmute(arguments) => wait_for(unmute::run(global, arguments)),
        Command::Stop(arguments) => wait_for(stop::run(global, arguments)),
        Command::Hooks(arguments) => wait_for(hooks::run(global, arguments)),
        Command::Reload(arguments) => wait_for(reload::run(global, arguments)),
        Command::Source(arguments) => wait_for(source::run(global, arguments)),
    }
}

/// Runs a command that talks to the daemon.
fn wait_for(command: impl Future<Output = Outcome>) -> Outcome {
    wait_for_value(command)
}

/// Runs work that waits, on this thread.
fn wait_for_value<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start the runtime: {error}")))?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_stands_in_the_grouped_help() {
        for command in Cli::command().get_subcommands() {
            let line = format!("\n  {} ", command.get_name());
            assert!(
                HELP_TEMPLATE.contains(&line),
                "`{}` is missing",
                command.get_name()
            );
        }
    }

    #[test]
    fn every_command_says_what_it_is_for_and_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            let examples = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                examples.contains("Example"),
                "`{}` has no example",
                command.get_name()
            );
        }
    }
}
