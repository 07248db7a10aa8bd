//! `hem emit`.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, Outcome, output};
use crate::control::api::EmitOrder;
use crate::event::saved;

/// Hand an event to the daemon, as if its system had sent it
///
/// It gets a number, is matched, and is recorded like any other, with the source `emit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem emit examples/opennebula/events/vm-running.xml
  hem emit examples/esc/events/service-alive-failed.xml      # a notification, as NETCONF brings it
  hem emit examples/ncmp/events/create-v2.json
  hem emit events.jsonl#17
  hem emit vm.xml --hook vm-running     # only this hook, whatever its trigger says")]
pub(super) struct Arguments {
    /// A saved event of any system (.xml, .b64, .json), or a line of recorded ones (FILE.jsonl#17)
    #[arg(value_name = "EVENT")]
    event: PathBuf,
    /// Run only this hook, whatever its trigger says
    #[arg(long)]
    hook: Option<String>,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let (path, line) = saved::locate(&arguments.event);
    let messages = saved::messages(&path, line).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let [message] = messages.as_slice() else {
        let name = path.display();
        return Err(
            Failure::new(Exit::Usage, format!("`{name}` holds {} events", messages.len()))
                .with_hint(format!("choose one, such as `{name}#1`")),
        );
    };
    let order = EmitOrder {
        key: message.key.clone(),
        payload: BASE64.encode(&message.document),
        hook: arguments.hook,
    };
    let reply = global.client().await?.emit(&order).await?;
    if global.json {
        output::print_json(&reply)?;
        return Ok(Exit::Ok);
    }
    output::say(&format!("accepted as event {}", reply.seq));
    if reply.executions.is_empty() {
        output::say(&format!("no hook matched; `hem match {}` says why", reply.seq));
    }
    for execution in &reply.executions {
        output::print(&format!("{execution}\n"))?;
    }
    Ok(Exit::Ok)
}
