//! What nobody can guess.

use std::fs::File;
use std::io::{self, Read as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bits enough that nobody tries.
const BYTES: usize = 32;

/// A text of 43 letters, digits, hyphens and underscores that stand for 256 bits of the kernel's randomness.
///
/// # Errors
/// When the kernel's randomness cannot be had.
pub fn secret() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_secrets_differ_and_can_stand_in_a_header() {
        let [one, other] = [(); 2].map(|()| secret().expect("randomness"));
        assert_ne!(one, other);
        assert_eq!(one.len(), 43);
        assert!(
            one.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        );
    }
}
