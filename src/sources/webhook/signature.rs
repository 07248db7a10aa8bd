//! Whether a request was signed with a secret. Comparisons take the same time wherever two values differ.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use crate::config::webhook::{Algorithm, Encoding, Signature};
use crate::secrets::Secret;

/// Whether `header` holds the signature of `body` by one of the secrets.
pub(super) fn is_signed(rules: &Signature, secrets: &[Secret], header: &str, body: &[u8]) -> bool {
    let Some(written) = header.trim().strip_prefix(rules.prefix.as_str()) else {
        return false;
    };
    let signature = match rules.encoding {
        Encoding::Hex => from_hex(written),
        Encoding::Base64 => STANDARD.decode(written).ok(),
    };
    let Some(signature) = signature else {
        return false;
    };
    secrets
        .iter()
        .any(|secret| is_signature(rules.algorithm, secret.bytes(), body, &signature))
}

fn is_signature(algorithm: Algorithm, secret: &[u8], body: &[u8], signature: &[u8]) -> bool {
    // A key of any length will do.
    macro_rules! verified {
        ($hash:ty) => {
            Hmac::<$hash>::new_from_slice(secret)
                .is_ok_and(|mac| mac.chain_update(body).verify_slice(signature).is_ok())
        };
    }
    match algorithm {
        Algorithm::Sha1 => verified!(Sha1),
        Algorithm::Sha256 => verified!(Sha256),
        Algorithm::Sha512 => verified!(Sha512),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::secret::SecretPlace;

    fn rules(algorithm: Algorithm, prefix: &str, encoding: Encoding) -> Signature {
        Signature {
            algorithm,
            header: "x-signature".to_owned(),
            prefix: prefix.to_owned(),
            encoding,
            secrets: vec![SecretPlace::Variable("UNUSED".to_owned())],
        }
    }

    /// Made with `printf 'Hello, World!' | openssl dgst -HASH -hmac "It's a Secret to Everybody"`; the second one is the example of
    /// GitHub's documentation.
    const SIGNED: [(Algorithm, &str); 3] = [
        (Algorithm::Sha1, "01dc10d0c83e72ed246219cdd91669667fe2ca59"),
        (
            Algorithm::Sha256,
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        ),
        (
            Algorithm::Sha512,
            "11ed355a617e98134e842012a7944ccf59c10256cb182357bd7e3a42013ff07c376f8c14cf5cc1923da20b51d64256b2fb8ebbf100aa67a61326f61fea8111bc",
        ),
    ];

    #[test]
    fn signatures_made_elsewhere_are_known() {
        let secrets = [Secret::of("another"), Secret::of("It's a Secret to Everybody")];
        for (algorithm, hex) in SIGNED {
            let rules = rules(algorithm, "x=", Encoding::Hex);
            let body = b"Hello, World!";
            assert!(
                is_signed(&rules, &secrets, &format!("x={hex}"), body),
                "{algorithm:?}"
            );
            let capitals = hex.to_ascii_uppercase();
            assert!(is_signed(&rules, &secrets, &format!(" x={capitals} "), body));
            assert!(!is_signed(&rules, &secrets, hex, body), "without its prefix");
            assert!(!is_signed(
                &rules,
                &secrets,
                &format!("x={hex}"),
                b"Hello, World?"
            ));
            assert!(!is_signed(&rules, &secrets[..1], &format!("x={hex}"), body));
            assert!(!is_signed(&rules, &secrets, &format!("x={}", &hex[2..]), body));
            assert!(!is_signed(&rules, &secrets, "x=", body));
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_is_known_and_what_was_changed_is_not(
            secret in "\\PC{1,40}", body in proptest::collection::vec(any::<u8>(), 0..100), at: usize, other in 1_u8..,
        ) {
            let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
            let signature = STANDARD.encode(mac.chain_update(&body).finalize().into_bytes());
            let rules = rules(Algorithm::Sha256, "", Encoding::Base64);
            let secrets = [Secret::of(&secret)];
            prop_assert!(is_signed(&rules, &secrets, &signature, &body));
            let mut changed = body.clone();
            if changed.is_empty() {
                changed.push(other);
            } else {
                let at = at % changed.len();
                changed[at] ^= other;
            }
            prop_assert!(!is_signed(&rules, &secrets, &signature, &changed));
        }

        #[test]
        fn no_header_makes_it_panic(header in "\\PC{0,40}|sha256=[0-9a-fA-F]{0,70}") {
            for encoding in [Encoding::Hex, Encoding::Base64] {
                let rules = rules(Algorithm::Sha256, "sha256=", encoding);
                prop_assert!(!is_signed(&rules, &[Secret::of("x")], &header, b"body"));
            }
        }
    }
}
