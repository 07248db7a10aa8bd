//! What sources that are sent to over HTTP ask of whoever sends.

use std::net::IpAddr;

use crate::config::control::HostPattern;
use crate::listener::Head;
use crate::sources::apart;

/// A larger body is read on a thread of its own, so that it does not keep others waiting.
const LARGE_BODY: usize = 128 << 10;

/// The token in `Bearer TOKEN`.
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a browser sends it for a page of somebody else's. Browsers say so, and other programs do not; but they say nothing with a
/// `GET` over plain HTTP to any other machine than their own (<https://www.w3.org/TR/fetch-metadata/>).
pub(super) fn is_of_a_page(head: &Head) -> bool {
    let foreign = |site: &str| matches!(site, "cross-site" | "same-site");
    head.header("origin").is_some() || head.header("sec-fetch-site").as_deref().is_some_and(foreign)
}

/// Whether a request asks for this machine by a name that every machine has for itself alone. Browsers always say whom they ask.
pub(super) fn is_for_this_machine(head: &Head) -> bool {
    head.header("host").is_none_or(|host| names_this_machine(&host))
}

fn names_this_machine(host: &str) -> bool {
    match host.parse::<HostPattern>() {
        Ok(HostPattern::Name { host, .. }) => {
            host == "localhost"
                || host
                    .trim_matches(['[', ']'])
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.to_canonical().is_loopback())
        }
        Ok(HostPattern::Any) | Err(_) => false,
    }
}

/// Reads a body of this size. None where the runtime ends over it.
pub(super) async fn read_body<T: Send + 'static>(
    size: usize,
    read: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if size < LARGE_BODY {
        Some(read())
    } else {
        apart(read).await
    }
}

/// The text, or the beginning of it that has no more bytes than that.
pub(super) fn cut(text: &str, longest: usize) -> String {
    text[..text.floor_char_boundary(longest)].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bearer_token_is_found_in_its_header() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }

    #[test]
    fn names_of_this_machine_are_those_that_nobody_else_can_take() {
        for host in [
            "localhost",
            "LocalHost:15868",
            "127.0.0.1",
            "127.0.0.2:80",
            "[::1]:15868",
            "[::1]",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in [
            "",
            "*",
            ":80",
            "evil.example:15868",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:15868",
            "[::2]",
            "evil@127.0.0.1",
            "127.0.0.1:80, evil.example",
        ] {
            assert!(!names_this_machine(host), "{host}");
        }
    }

    #[tokio::test]
    async fn a_panic_over_a_large_body_is_one_for_whoever_waits_for_it() {
        for size in [0, LARGE_BODY] {
            assert_eq!(read_body(size, || 7).await, Some(7));
            let read = read_body(size, || -> u8 { panic!("a reader tripped") });
            let ended = std::panic::AssertUnwindSafe(read);
            let ended = futures_util::FutureExt::catch_unwind(ended).await;
            assert!(ended.is_err(), "{size}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "(Bearer|bearer|Basic)? {0,2}\\PC{0,40}", longest in 0_usize..50) {
            let _ = bearer(&header);
            prop_assert!(cut(&header, longest).len() <= longest);
        }
    }
}
