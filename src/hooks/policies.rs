//! Raw limits, retries and policies → checked ones: when and how often a hook runs.

use std::time::Duration;

use super::compile::Compiler;
use super::raw::{
    RawBreaker, RawHook, RawLoopGuard, RawOnInterrupt, RawOrder, RawOutput, RawOverlap, RawPriority,
    RawRetry, RawThrottle, RawThrottleKey, RawThrottleThen,
};
use super::scalar::HumanDuration;
use super::tree::At;
use super::{
    Breaker, LoopGuard, OnInterrupt, Order, OutputLimits, Overlap, Policy, Priority, Profile, Retry,
    Throttle, ThrottleKey, ThrottleThen,
};

const TIMEOUT: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(10);
const RETRY_ATTEMPTS: u32 = 5;
const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
const OUTPUT: usize = 64 << 10;
const LOOP_GUARD: LoopGuard = LoopGuard {
    max: 60,
    per: Duration::from_secs(60),
    length: Duration::from_secs(600),
};

const MOST_ATTEMPTS: u32 = 1000;

/// The times of that many are remembered, for each subject.
const MOST_COUNTED: u32 = 10_000;

/// A start looks for failures among the newest executions of a hook, and not among more than that many times ten.
const MOST_FAILURES: u32 = 1_000;

impl Compiler<'_> {
    /// When and how often a hook runs.
    pub(super) fn policy(&mut self, raw: &mut RawHook, profile: Profile) -> Policy {
        let is_onehem = profile == Profile::Onehem;
        let retry = raw.retry.take().and_then(|retry| {
            if is_onehem {
                self.error(
                    retry.mark,
                    "hooks of the profile `onehem` are never retried by themselves".to_owned(),
                )
                .help("take `retry` out, or write `profile: hem`");
            }
            self.retry(retry.value)
        });
        let max_parallel = raw.max_parallel.take().and_then(|number| {
            if number.value == 0 {
                self.error(number.mark, "`max_parallel: 0` would never run".to_owned())
                    .help("write `enabled: false` to keep the hook from running");
            }
            usize::try_from(number.value).ok()
        });
        let order = match raw.order.take().map(|order| order.value) {
            Some(RawOrder::Subject) | None => Order::Subject,
            Some(RawOrder::Hook) => Order::Hook,
            Some(RawOrder::None) => Order::None,
        };
        let start_within = raw.start_within.take().map(|limit| limit.value.0);
        Policy {
            throttle: raw.throttle.take().and_then(|throttle| self.throttle(throttle)),
            debounce: raw
                .debounce
                .take()
                .and_then(|delay| self.debounce(&delay, order, start_within)),
            overlap: raw
                .overlap
                .take()
                .map_or(Overlap::Queue, |overlap| self.overlap(&overlap, order)),
            loop_guard: self.loop_guard(raw.loop_guard.take(), order),
            breaker: raw.breaker.take().and_then(|breaker| self.breaker(breaker)),
            timeout: match raw.timeout.take() {
                Some(limit) => limit.value.0,
                None if is_onehem => None,
                None => Some(TIMEOUT),
            },
            grace: raw.grace.take().map_or(GRACE, |grace| grace.value.0),
            retry,
            order,
            max_parallel,
            priority: match raw.priority.take().map(|priority| priority.value) {
                Some(RawPriority::Normal) | None => Priority::Normal,
                Some(RawPriority::High) => Priority::High,
            },
            start_within,
            on_interrupt: match raw.on_interrupt.take().map(|choice| choice.value) {
                Some(RawOnInterrupt::Rerun) => OnInterrupt::Rerun,
                Some(RawOnInterrupt::Fail) => OnInterrupt::Fail,
                None if is_onehem => OnInterrupt::Fail,
                None => OnInterrupt::Rerun,
            },
            output: output_limits(raw.output.take().map(|output| output.value)),
        }
    }

    fn retry(&mut self, raw: RawRetry) -> Option<Retry> {
        let attempts = match raw.attempts {
            Some(attempts) if (1..=MOST_ATTEMPTS).contains(&attempts.value) => attempts.value,
            Some(attempts) => {
                self.error(
                    attempts.mark,
                    format!("`attempts` counts the first one too: from 1 to {MOST_ATTEMPTS}"),
                );
                return None;
            }
            None => RETRY_ATTEMPTS,
        };
        let (backoff_min, backoff_max) = raw.backoff.map_or((BACKOFF_MIN, BACKOFF_MAX), |backoff| {
            (backoff.value.min, backoff.value.max)
        });
        Some(Retry {
            attempts,
            backoff_min,
            backoff_max,
        })
    }

    fn throttle(&mut self, raw: At<RawThrottle>) -> Option<Throttle> {
        let At { value: raw, mark } = raw;
        let max = self.count("max", raw.max, MOST_COUNTED);
        let per = self.time("per", raw.per);
        let (Some(max), Some(per)) = (max, per) else {
            self.missing(
                mark,
                "a throttle needs `max` and `per`",
                "write `throttle: { max: 10, per: 1m }`",
            );
            return None;
        };
        Some(Throttle {
            max: max?,
            per: per?,
            key: match raw.key.map(|key| key.value) {
                Some(RawThrottleKey::Subject) | None => ThrottleKey::Subject,
                Some(RawThrottleKey::Hook) => ThrottleKey::Hook,
            },
            then: match raw.then.map(|then| then.value) {
                Some(RawThrottleThen::Skip) | None => ThrottleThen::Skip,
                Some(RawThrottleThen::Mute) => ThrottleThen::Mute,
            },
        })
    }

    fn debounce(
        &mut self,
        delay: &At<HumanDuration>,
        order: Order,
        start_within: Option<Duration>,
    ) -> Option<Duration> {
        let HumanDuration(length) = delay.value;
        if length.is_zero() {
            self.error(delay.mark, "`debounce` needs a time to wait".to_owned())
                .help("write `debounce: 30s`, or take it out");
            return None;
        }
        if order == Order::None {
            self.error(
                delay.mark,
                "`debounce` needs an order: what is newer is so within one".to_owned(),
            )
            .help("write `order: subject`, or take `debounce` out");
        }
        if start_within.is_some_and(|limit| limit <= length) {
            self.error(
                delay.mark,
                "`debounce` waits longer than `start_within` allows: nothing would ever run".to_owned(),
            )
            .help("make `start_within` the longer one");
        }
        Some(length)
    }

    fn overlap(&mut self, raw: &At<RawOverlap>, order: Order) -> Overlap {
        let overlap = match raw.value {
            RawOverlap::Queue => Overlap::Queue,
            RawOverlap::Latest => Overlap::Latest,
            RawOverlap::Drop => Overlap::Drop,
            RawOverlap::Cancel => Overlap::Cancel,
        };
        if overlap != Overlap::Queue && order == Order::None {
            self.error(
                raw.mark,
                "`overlap` needs an order: without one nothing waits for anything".to_owned(),
            )
            .help("write `order: subject`, or take `overlap` out");
        }
        overlap
    }

    fn loop_guard(&mut self, raw: Option<At<RawLoopGuard>>, order: Order) -> Option<LoopGuard> {
        let Some(At { value, mark }) = raw else {
            return (order == Order::Subject).then_some(LOOP_GUARD);
        };
        let RawLoopGuard::Limits(raw) = value else {
            return None;
        };
        if order != Order::Subject {
            self.error(
                mark,
                "`loop_guard` counts what happens to one subject: it needs `order: subject`".to_owned(),
            )
            .help("take one of them out");
            return None;
        }
        let max = self
            .count("max", raw.max, MOST_COUNTED)
            .unwrap_or(Some(LOOP_GUARD.max));
        let per = self.time("per", raw.per).unwrap_or(Some(LOOP_GUARD.per));
        let length = self.time("for", raw.length).unwrap_or(Some(LOOP_GUARD.length));
        Some(LoopGuard {
            max: max?,
            per: per?,
            length: length?,
        })
    }

    fn breaker(&mut self, raw: At<RawBreaker>) -> Option<Breaker> {
        let At { value: raw, mark } = raw;
        let failures = self.count("failures", raw.failures, MOST_FAILURES);
        let per = self.time("per", raw.per);
        let length = self.time("for", raw.length);
        let (Some(failures), Some(per)) = (failures, per) else {
            self.missing(
                mark,
                "a breaker needs `failures` and `per`",
                "write `breaker: { failures: 10, per: 5m }`",
            );
            return None;
        };
        Some(Breaker {
            failures: failures?,
            per: per?,
            length: length.unwrap_or(per)?,
        })
    }

    /// A number to count up to. None when it is not written, and none inside when it is no good.
    fn count(&mut self, name: &str, raw: Option<At<u32>>, most: u32) -> Option<Option<usize>> {
        let At { value, mark } = raw?;
        if !(1..=most).contains(&value) {
            self.error(mark, format!("`{name}` is a number from 1 to {most}"));
            return Some(None);
        }
        Some(usize::try_from(value).ok())
    }

    /// A time to count in, or to wait. None when it is not written, and none inside when it is no good.
    fn time(&mut self, name: &str, raw: Option<At<HumanDuration>>) -> Option<Option<Duration>> {
        let At { value, mark } = raw?;
        let HumanDuration(length) = value;
        if length.is_zero() {
            self.error(mark, format!("`{name}` is longer than no time at all"));
            return Some(None);
        }
        Some(Some(length))
    }
}

fn output_limits(raw: Option<RawOutput>) -> OutputLimits {
    let raw = raw.unwrap_or_default();
    OutputLimits {
        head: raw.head.map_or(OUTPUT, |size| size.value.0),
        tail: raw.tail.map_or(OUTPUT, |size| size.value.0),
    }
}
