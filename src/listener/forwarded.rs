//! Who sent a request that a proxy handed on: `X-Forwarded-For`, believed of the proxies that are named.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::HeaderMap;

use crate::config::scalar::Network;

/// Where a request came from. Each proxy writes behind what it was sent the address that it was sent it from; so what counts is read from
/// the end, for as long as those are trusted that wrote it. What is no address there is nobody's: no list of addresses has it.
pub(super) fn sender(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut sender = peer.to_canonical();
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    for value in values.into_iter().rev() {
        // Bytes that are no text are no address either.
        let value = value.to_str().unwrap_or("?");
        for written in value.rsplit(',') {
            if !is_trusted(sender) {
                return sender;
            }
            sender = match address(written.trim()) {
                Some(address) => address.to_canonical(),
                None => return Ipv4Addr::UNSPECIFIED.into(),
            };
        }
    }
    sender
}

/// Some proxies write the port as well, and IPv6 in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append("x-forwarded-for", value);
        }
        headers
    }

    #[test]
    fn what_trusted_proxies_wrote_is_believed_and_nothing_else() {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
        for (peer, values, found) in [
            // No proxy, whatever it says.
            ("203.0.113.9", &["198.51.100.7"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            // The sender made up what stands before its own address.
            ("10.0.0.1", &["192.0.2.1, 198.51.100.7"], "198.51.100.7"),
            (
                "10.0.0.1",
                &["192.0.2.1", "198.51.100.7, 10.0.0.2"],
                "198.51.100.7",
            ),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("fd00::1", &["[2001:db8::7]"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            // What is no address is in no list.
            ("10.0.0.1", &["198.51.100.7, unknown"], "0.0.0.0"),
            ("10.0.0.1", &[""], "0.0.0.0"),
            ("10.0.0.1", &["198.51.100.7,"], "0.0.0.0"),
            ("10.0.0.1", &["é"], "0.0.0.0"),
        ] {
            let peer = peer.parse().expect("an address");
            let expected: IpAddr = found.parse().expect("an address");
            assert_eq!(sender(peer, &headers(values), &trusted), expected, "{values:?}");
        }
        let peer = "10.0.0.1".parse().expect("an address");
        assert_eq!(
            sender(peer, &headers(&["198.51.100.7"]), &[]),
            peer,
            "nobody is trusted"
        );
    }

    proptest! {
        #[test]
        fn no_header_moves_whom_nobody_trusts(value in "[ -~]{0,60}|[0-9.:, \\[\\]]{0,40}", is_proxy: bool) {
            let trusted = ["10.0.0.0/8".parse().expect("a network")];
            let peer: IpAddr = if is_proxy { [10, 0, 0, 1].into() } else { [203, 0, 113, 9].into() };
            let found = sender(peer, &headers(&[&value]), &trusted);
            prop_assert!(is_proxy || found == peer);
        }
    }
}
