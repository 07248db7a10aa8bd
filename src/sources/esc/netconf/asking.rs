//! What a server is asked besides its notifications, each on a session of its own.

use std::time::Duration;

use tokio::time::timeout;

use super::ssh::{Link, SshError};
use super::{Inquiry, InquiryFault, Stream, streams};

/// Longer answers are not taken; the longest real ones tell of all deployments.
const LONGEST_ANSWER: usize = 16 << 20;

/// A server that takes longer to answer does not.
pub(super) const ANSWER: Duration = Duration::from_secs(30);

/// A question that is not answered by then is asked once more.
const ANSWER_AT_ONCE: Duration = Duration::from_secs(10);

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    Inquiry(#[from] InquiryFault),
    #[error("the answer is not understood: {0}")]
    Answer(String),
    #[error("the server has not answered in {} seconds", ANSWER.as_secs())]
    Silent,
    #[error("the server ended the session")]
    Closed,
}

impl Unanswered {
    /// Whether the server did answer, that it does not tell.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::Inquiry(_) | Self::Answer(_))
    }
}

/// What the server says of a stream; none where it lists no such one.
pub(super) async fn stream(link: &Link, name: &str) -> Result<Option<Stream>, Unanswered> {
    let answer = question(link, &streams::subtree(name)).await?;
    streams::read(&answer, name).map_err(Unanswered::Answer)
}

/// Asks one thing on a session of its own. Where no answer comes it is asked once more, on another one: netconfd never answers what it
/// happens to read together with the greeting.
pub(super) async fn question(link: &Link, subtree: &str) -> Result<Vec<u8>, Unanswered> {
    match ask(link, subtree, ANSWER_AT_ONCE).await {
        Err(Unanswered::Silent) => ask(link, subtree, ANSWER.saturating_sub(ANSWER_AT_ONCE)).await,
        answer => answer,
    }
}

async fn ask(link: &Link, subtree: &str, limit: Duration) -> Result<Vec<u8>, Unanswered> {
    let asked = async {
        let mut channel = link.netconf().await?;
        let mut inquiry = Inquiry::new(subtree, LONGEST_ANSWER);
        let answer = loop {
            channel.send(inquiry.output()).await?;
            match inquiry.answer() {
                Ok(None) => {}
                Ok(Some(answer)) => break Ok(answer),
                Err(fault) => break Err(fault),
            }
            channel.send(inquiry.output()).await?;
            match channel.receive().await {
                Some(bytes) => inquiry.push(&bytes),
                None => return Err(Unanswered::Closed),
            }
        };
        channel.send(inquiry.output()).await?;
        channel.close().await;
        Ok(answer?)
    };
    timeout(limit, asked).await.unwrap_or(Err(Unanswered::Silent))
}
