//! Messages of OpenNebula, published as its hook manager does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::exit::{Exit, Failure};
use super::super::output;
use super::{Arguments, Saved, each};
use crate::event::saved::SavedMessage;
use crate::sources::opennebula::publisher::Publisher;

pub(super) async fn publish(arguments: &Arguments, saved: &[Saved<SavedMessage>]) -> Result<u64, Failure> {
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
        let total = each(arguments, saved, async |Saved { event, .. }| {
            let content = BASE64.encode(&event.document);
            publisher.publish(&event.key, content.as_bytes()).await;
            Ok(())
        })
        .await;
        publisher.finish().await;
        total
    };
    let answered = async { while replies.recv().await.is_some() {} };
    tokio::pin!(sending, answered);
    tokio::select! {
        total = &mut sending => total,
        () = &mut answered => sending.await,
    }
}
