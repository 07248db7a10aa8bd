//! UUIDs: drawn by lot for notifications and requests, made from names for hosts and segments, and recognised.

use sha1::{Digest as _, Sha1};

/// The space of names in which hem makes UUIDs (RFC 9562, version 5). It was drawn by lot once.
const NAMES: [u8; 16] = [
    0x5d, 0x0c, 0x35, 0x8e, 0x9a, 0x61, 0x4f, 0x0b, 0xa5, 0x1c, 0x27, 0xf4, 0x0e, 0x92, 0xd1, 0x83,
];

/// A new one.
pub(super) fn draw() -> String {
    written(fastrand::u128(..).to_be_bytes(), 4)
}

/// The one that a thing of this kind and name always has.
pub(super) fn of(kind: &str, name: &str) -> String {
    let digest = Sha1::new()
        .chain_update(NAMES)
        .chain_update(kind)
        .chain_update("/")
        .chain_update(name)
        .finalize();
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(digest) {
        *byte = hashed;
    }
    written(bytes, 5)
}

fn written(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    dashed(u128::from_be_bytes(bytes))
}

/// With its dashes.
pub(super) fn dashed(uuid: u128) -> String {
    let digits = format!("{uuid:032x}");
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

/// Reads a UUID in the forms that OpenStack's libraries take: with and without dashes, in braces, `urn:uuid:` before it.
pub(super) fn parse(text: &str) -> Option<u128> {
    let plain = text.replace("urn:", "").replace("uuid:", "");
    let plain = plain.trim_matches(['{', '}']).replace('-', "");
    let is_one = plain.len() == 32 && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| u128::from_str_radix(&plain, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_has_one_uuid_and_a_lot_gives_another_each_time() {
        assert_eq!(of("host", "node1"), of("host", "node1"));
        assert_ne!(of("host", "node1"), of("segment", "node1"));
        assert_ne!(draw(), draw());
        assert_eq!(of("host", "node1").as_bytes()[14], b'5');
        assert_eq!(draw().as_bytes()[14], b'4');
    }

    #[test]
    fn uuids_are_recognised_as_openstack_does() {
        let uuid = 0x96ab_1c42_668c_4f2d_8689_afa3_301d_4ee9;
        for text in [
            "96ab1c42-668c-4f2d-8689-afa3301d4ee9",
            "96AB1C42668C4F2D8689AFA3301D4EE9",
            "{96ab1c42-668c-4f2d-8689-afa3301d4ee9}",
            "urn:uuid:96ab1c42-668c-4f2d-8689-afa3301d4ee9",
            "9-6ab1c42668c4f2d8689afa3301d4ee9-",
        ] {
            assert_eq!(parse(text), Some(uuid), "{text}");
        }
        for text in [
            "",
            "x",
            "2",
            "96ab1c42-668c-4f2d-8689-afa3301d4ee",
            "0x96ab1c42668c4f2d8689afa3301d4e",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(uuid in any::<u128>(), noise in "\\PC{0,40}") {
            prop_assert_eq!(parse(&dashed(uuid)), Some(uuid));
            let _ = parse(&noise);
        }
    }
}
