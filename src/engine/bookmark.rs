//! What a source wants to find again after a restart: how far it has read, or what it was told and no event says.

use bytes::Bytes;

/// A longer value is refused: it is written anew with each event that moves it.
pub const LONGEST_VALUE: usize = 64 << 10;

/// A small value that is kept for a source, under a name of the source's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    name: String,
    value: Option<Bytes>,
}

/// What cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookmarkError {
    /// Its value is too long.
    #[error("the bookmark `{name}` has {length} bytes, more than {LONGEST_VALUE}")]
    TooLong {
        /// Its name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// Its name holds a NUL.
    #[error("a bookmark's name holds a NUL")]
    Name,
}

impl Bookmark {
    /// Keeps a value.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn new(name: impl Into<String>, value: impl Into<Bytes>) -> Result<Self, BookmarkError> {
        let (name, value) = (name.into(), value.into());
        if value.len() > LONGEST_VALUE {
            let length = value.len();
            return Err(BookmarkError::TooLong { name, length });
        }
        if name.contains('\0') {
            return Err(BookmarkError::Name);
        }
        Ok(Self {
            name,
            value: Some(value),
        })
    }

    /// Keeps nothing under this name any more.
    pub fn removal(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is kept under the name from now on; none where nothing is.
    pub const fn value(&self) -> Option<&Bytes> {
        self.value.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_has_an_impossible_name_is_refused() {
        let longest = vec![0; LONGEST_VALUE];
        assert!(Bookmark::new("cursor", longest).is_ok());
        let error = Bookmark::new("cursor", vec![0; LONGEST_VALUE + 1]).expect_err("too long");
        assert_eq!(
            error.to_string(),
            "the bookmark `cursor` has 65537 bytes, more than 65536"
        );
        assert_eq!(Bookmark::new("a\0b", ""), Err(BookmarkError::Name));
    }
}
