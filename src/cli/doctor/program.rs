//! A program that is asked something: started, listened to within bounds, and ended when its time is up.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// What is read of each stream; more than any answer here has.
const LONGEST: u64 = 64 << 10;

/// What a program said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Why a program said nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// It cannot be started, or its end cannot be waited for.
    #[error(transparent)]
    Start(io::Error),
    /// It did not end.
    #[error("no answer within {} s", .0.as_secs())]
    TooSlow(Duration),
}

/// Runs a program to its end, without input.
pub(super) async fn ask(command: &mut Command, limit: Duration) -> Result<Answer, NoAnswer> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(NoAnswer::Start)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr, status) = timeout(limit, async {
        tokio::join!(read(stdout), read(stderr), child.wait())
    })
    .await
    .map_err(|_| NoAnswer::TooSlow(limit))?;
    Ok(Answer {
        status: status.map_err(NoAnswer::Start)?,
        stdout,
        stderr,
    })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What came before an error is what there is.
        let _ = stream.take(LONGEST).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
