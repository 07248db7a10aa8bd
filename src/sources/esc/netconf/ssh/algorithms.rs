//! What is agreed on with a server: modern algorithms, or old ones too where somebody asked for them.

use std::borrow::Cow;

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, kex, mac};

/// Also safe, and what servers of some age have besides Diffie-Hellman.
const CURVES: [kex::Name; 3] = [
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
];

const OLD_EXCHANGES: [kex::Name; 3] = [kex::DH_G14_SHA1, kex::DH_GEX_SHA1, kex::DH_G1_SHA1];
const OLD_CIPHERS: [cipher::Name; 3] = [cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC];
const OLD_MACS: [mac::Name; 2] = [mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];

/// What may be agreed on, the best first. Host keys of the `known` algorithms come before all others, so that a server with several
/// keys shows one that can be recognised.
pub(super) fn preferred(with_old: bool, known: &[&str]) -> Preferred {
    let modern = Preferred::DEFAULT;
    let old = |of: &[Algorithm]| if with_old { of.to_vec() } else { Vec::new() };
    let host_keys = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP384,
        },
        Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP521,
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        },
        Algorithm::Rsa {
            hash: Some(HashAlg::Sha256),
        },
    ];
    let host_keys = host_keys.into_iter().chain(old(&[Algorithm::Rsa { hash: None }]));
    let (recognisable, others): (Vec<_>, Vec<_>) =
        host_keys.partition(|algorithm| known.contains(&key_type(algorithm)));
    Preferred {
        key: Cow::Owned(recognisable.into_iter().chain(others).collect()),
        kex: extended(&modern.kex, &CURVES, if with_old { &OLD_EXCHANGES } else { &[] }),
        cipher: extended(&modern.cipher, &[], if with_old { &OLD_CIPHERS } else { &[] }),
        mac: extended(&modern.mac, &[], if with_old { &OLD_MACS } else { &[] }),
        ..modern
    }
}

/// The type of the keys that an algorithm signs with: those of RSA have one, whatever the hash.
fn key_type(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

fn extended<T: Clone>(modern: &[T], also: &[T], old: &[T]) -> Cow<'static, [T]> {
    Cow::Owned([modern, also, old].concat())
}

/// The hash with which a key of RSA signs, of those that the server says it takes; `told` is none where it says nothing.
pub(super) const fn rsa_hash(with_old: bool, told: Option<Option<HashAlg>>) -> Option<HashAlg> {
    match told {
        Some(Some(hash)) => Some(hash),
        Some(None) | None if with_old => None,
        Some(None) | None => Some(HashAlg::Sha512),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(preferred: &Preferred) -> Vec<String> {
        preferred.key.iter().map(|key| key.as_str().to_owned()).collect()
    }

    #[test]
    fn old_algorithms_are_offered_only_where_they_were_asked_for() {
        let (modern, legacy) = (preferred(false, &[]), preferred(true, &[]));
        assert!(!names(&modern).contains(&"ssh-rsa".to_owned()));
        assert_eq!(names(&legacy).last().map(String::as_str), Some("ssh-rsa"));
        for kex in OLD_EXCHANGES {
            assert!(legacy.kex.contains(&kex) && !modern.kex.contains(&kex));
        }
        for cipher in OLD_CIPHERS {
            assert!(legacy.cipher.contains(&cipher) && !modern.cipher.contains(&cipher));
        }
        for mac in OLD_MACS {
            assert!(legacy.mac.contains(&mac) && !modern.mac.contains(&mac));
        }
        assert_eq!(rsa_hash(false, Some(None)), Some(HashAlg::Sha512));
        assert_eq!(rsa_hash(true, None), None);
    }

    #[test]
    fn known_host_keys_are_asked_for_first() {
        let known = names(&preferred(true, &["ssh-rsa"]));
        assert_eq!(known[..3], ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]);
        assert_eq!(known.len(), names(&preferred(true, &[])).len());
        let known = names(&preferred(false, &["ecdsa-sha2-nistp384"]));
        assert_eq!(known[0], "ecdsa-sha2-nistp384");
    }
}
