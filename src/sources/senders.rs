//! What sources that are sent to over HTTP ask of whoever sends.

use crate::listener::Head;

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

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "(Bearer|bearer|Basic)? {0,2}\\PC{0,40}", longest in 0_usize..50) {
            let _ = bearer(&header);
            prop_assert!(cut(&header, longest).len() <= longest);
        }
    }
}
