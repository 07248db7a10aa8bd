//! Keeps a stream's beginning and end in bounded memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Captured;

/// One output stream while it is being read: the first `head` bytes and the last `tail` bytes after them.
#[derive(Debug, Clone)]
pub(super) struct Capture {
    head: Vec<u8>,
    head_limit: usize,
    tail: VecDeque<u8>,
    tail_limit: usize,
    total: u64,
}

impl Capture {
    pub(super) fn new(head_limit: usize, tail_limit: usize) -> Self {
        Self {
            head: Vec::new(),
            head_limit,
            tail: VecDeque::new(),
            tail_limit,
            total: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let into_head = bytes.len().min(self.head_limit - self.head.len());
        let (first, rest) = bytes.split_at(into_head);
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let surplus = (self.tail.len() + rest.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..surplus);
        self.tail.extend(rest);
    }

    /// What was kept; all of it in the head when nothing was cut.
    pub(super) fn finish(mut self) -> Captured {
        let kept = self.head.len() as u64 + self.tail.len() as u64;
        if kept == self.total {
            self.head.extend(self.tail.drain(..));
        }
        Captured {
            head: Bytes::from(self.head),
            tail: Bytes::from(Vec::from(self.tail)),
            total: self.total,
        }
    }
}

/// A capture that others may look at meanwhile.
#[derive(Debug, Clone)]
pub(super) struct Shared(Arc<Mutex<Capture>>);

impl Shared {
    pub(super) fn new(capture: Capture) -> Self {
        Self(Arc::new(Mutex::new(capture)))
    }

    fn capture(&self) -> MutexGuard<'_, Capture> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        self.capture().push(bytes);
    }

    /// What is kept so far.
    pub(super) fn kept(&self) -> Captured {
        self.capture().clone().finish()
    }
}

/// What a process has written so far, for whoever looks on while it runs. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct SoFar(Arc<Mutex<Option<[Shared; 2]>>>);

impl SoFar {
    fn streams(&self) -> MutexGuard<'_, Option<[Shared; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process begins to write; what another one wrote before is not shown any more.
    pub(super) fn begin(&self, stdout: &Shared, stderr: &Shared) {
        *self.streams() = Some([stdout.clone(), stderr.clone()]);
    }

    /// What is kept of its standard output and of its standard error, with the values of secrets replaced. Nothing before the process
    /// has begun.
    pub fn kept(&self) -> [Captured; 2] {
        let streams = self.streams().clone();
        streams.map_or_else(Default::default, |streams| streams.map(|stream| stream.kept()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_output_is_all_head() {
        let mut capture = Capture::new(4, 4);
        capture.push(b"abc");
        capture.push(b"defg");
        let kept = capture.finish();
        assert_eq!(
            (&kept.head[..], &kept.tail[..], kept.total, kept.cut()),
            (&b"abcdefg"[..], &b""[..], 7, 0)
        );
    }

    #[test]
    fn a_long_output_keeps_both_ends_and_says_what_was_cut() {
        let mut capture = Capture::new(3, 2);
        capture.push(b"0123456789");
        let kept = capture.finish();
        assert_eq!(
            (&kept.head[..], &kept.tail[..], kept.total, kept.cut()),
            (&b"012"[..], &b"89"[..], 10, 5)
        );
    }

    #[test]
    fn limits_of_zero_only_count() {
        let mut capture = Capture::new(0, 0);
        capture.push(b"0123");
        assert_eq!(
            capture.finish(),
            Captured {
                total: 4,
                ..Captured::default()
            }
        );
    }

    #[test]
    fn what_was_written_so_far_can_be_looked_at_and_is_as_bounded_as_the_record() {
        let so_far = SoFar::default();
        assert_eq!(so_far.kept(), [Captured::default(), Captured::default()]);
        let [stdout, stderr] = [(); 2].map(|()| Shared::new(Capture::new(3, 2)));
        so_far.begin(&stdout, &stderr);
        stdout.push(b"0123456789");
        stderr.push(b"ab");
        let [seen, errors] = so_far.kept();
        assert_eq!(
            (&seen.head[..], &seen.tail[..], seen.total),
            (&b"012"[..], &b"89"[..], 10)
        );
        assert_eq!(&errors.head[..], b"ab");
        stdout.push(b"x");
        assert_eq!(so_far.kept()[0].total, 11, "looking took nothing away");
    }

    proptest! {
        #[test]
        fn chunking_never_changes_what_is_kept(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
            head in 0usize..60,
            tail in 0usize..60,
        ) {
            let whole: Vec<u8> = chunks.concat();
            let mut capture = Capture::new(head, tail);
            for chunk in &chunks {
                capture.push(chunk);
                prop_assert!(capture.head.len() <= head && capture.tail.len() <= tail);
            }
            let kept = capture.finish();
            prop_assert_eq!(kept.total, whole.len() as u64);
            if whole.len() <= head + tail {
                prop_assert_eq!(&kept.head[..], &whole[..]);
                prop_assert!(kept.tail.is_empty());
            } else {
                prop_assert_eq!(&kept.head[..], &whole[..head]);
                prop_assert_eq!(&kept.tail[..], &whole[whole.len() - tail..]);
            }
        }
    }
}
