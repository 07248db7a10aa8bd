//! Orders to sources to read from elsewhere. Where a source reads from is its own matter; here it is only told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::handle::OrderError;
use crate::event::ncmp::mark::Target;

/// Orders that wait for one source.
const WAITING: usize = 4;

/// What is to be read from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// The topic.
    pub topic: String,
    /// One of its partitions; all that the source reads where unset.
    pub partition: Option<i32>,
    /// From where.
    pub target: Target,
}

impl Aim {
    /// What the audit log says of an order to the source of this name.
    pub fn in_audit(&self, source: &str) -> String {
        let Self {
            topic,
            partition,
            target,
        } = self;
        match partition {
            Some(partition) => format!("{source} {topic}/{partition} to {target}"),
            None => format!("{source} {topic} to {target}"),
        }
    }
}

/// An order to a source.
#[derive(Debug)]
pub struct Seek {
    /// What is to be read from elsewhere.
    pub aim: Aim,
    /// Only what would be done is asked for.
    pub is_dry_run: bool,
    /// Gets what is read from elsewhere, once that is durable; or why it is not, as a sentence.
    pub reply: oneshot::Sender<Result<Vec<Sought>, String>>,
}

impl Seek {
    /// Whoever gave the order was told that nothing came of it, or has gone away: it must not be carried out.
    pub fn is_given_up(&self) -> bool {
        self.reply.is_closed()
    }
}

/// A partition that is read from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Up to where it was read.
    pub read_up_to: Option<i64>,
}

/// Where orders reach the sources. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct SeekDesk(Arc<Mutex<BTreeMap<String, mpsc::Sender<Seek>>>>);

impl SeekDesk {
    /// The end of the source of this name. One who lets it go takes no orders.
    pub(super) fn inlet(&self, source: &str) -> mpsc::Receiver<Seek> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut inlets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inlets.insert(source.to_owned(), sender);
        receiver
    }

    /// Tells a source; comes back when that is durable.
    pub(super) async fn order(
        &self,
        source: &str,
        aim: Aim,
        is_dry_run: bool,
    ) -> Result<Vec<Sought>, OrderError> {
        let inlet = {
            let inlets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            inlets.get(source).cloned()
        };
        let inlet = inlet.ok_or_else(|| OrderError::NoSuchSource(source.into()))?;
        let (reply, answer) = oneshot::channel();
        let order = Seek {
            aim,
            is_dry_run,
            reply,
        };
        if inlet.send(order).await.is_err() {
            return Err(OrderError::NotPossible(format!(
                "the source `{source}` cannot be told where to read from"
            )));
        }
        match answer.await {
            Ok(Ok(sought)) => Ok(sought),
            Ok(Err(why)) => Err(OrderError::NotPossible(why)),
            Err(_) => Err(OrderError::NotPossible(format!(
                "the partitions of `{source}` were given out anew meanwhile; try again"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn aim() -> Aim {
        Aim {
            topic: "t".to_owned(),
            partition: None,
            target: Target::Earliest,
        }
    }

    #[test]
    fn the_audit_log_tells_an_order_for_one_partition_from_one_for_all() {
        assert_eq!(aim().in_audit("a"), "a t to its oldest record");
        let of_one = Aim {
            partition: Some(3),
            target: Target::Offset(7),
            ..aim()
        };
        assert_eq!(of_one.in_audit("a"), "a t/3 to offset 7");
    }

    #[tokio::test]
    async fn a_source_answers_and_one_that_takes_no_orders_is_named() {
        let desk = SeekDesk::default();
        let missing = desk.order("a", aim(), false).await;
        assert_eq!(missing, Err(OrderError::NoSuchSource("a".into())));
        drop(desk.inlet("a"));
        let refused = desk.order("a", aim(), false).await;
        assert!(matches!(refused, Err(OrderError::NotPossible(why)) if why.contains("`a`")));

        let mut inlet = desk.inlet("a");
        let tasks = tokio_util::task::TaskTracker::new();
        let ordered = tasks.spawn(async move { desk.order("a", aim(), true).await });
        let seek = inlet.recv().await.expect("an order");
        assert!(seek.is_dry_run && seek.aim == aim());
        seek.reply
            .send(Err("not now".to_owned()))
            .expect("somebody waits");
        let answer = ordered.await.expect("a task");
        assert_eq!(answer, Err(OrderError::NotPossible("not now".to_owned())));
    }

    #[tokio::test]
    async fn an_order_is_given_up_with_whoever_waits_for_it() {
        let desk = SeekDesk::default();
        let mut inlet = desk.inlet("a");
        let (order, waited) = {
            let mut ordered = Box::pin(desk.order("a", aim(), false));
            assert!((&mut ordered).now_or_never().is_none(), "nobody has answered");
            let order = inlet.recv().await.expect("an order");
            let waited = !order.is_given_up();
            (order, waited)
        };
        assert!(waited && order.is_given_up());
    }
}
