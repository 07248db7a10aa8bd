//! What a source wants to find again after a restart: how far it has read, or what it was told and no event says.

use bytes::Bytes;

/// A longer value is refused: it is one entry of the store, written anew with each event that moves it.
pub const LONGEST_VALUE: usize = 3 << 10;

/// A longer name is refused: it is part of the entry's key. A topic of Kafka has up to 249 bytes, a host's name 255.
pub const LONGEST_NAME: usize = 512;

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
    /// Its name is too long.
    #[error("a bookmark's name has {length} bytes, more than {LONGEST_NAME}")]
    LongName {
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
        if name.len() > LONGEST_NAME {
            return Err(BookmarkError::LongName { length: name.len() });
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
            "the bookmark `cursor` has 3073 bytes, more than 3072"
        );
        let name = "n".repeat(LONGEST_NAME);
        assert!(Bookmark::new(name.clone(), "").is_ok());
        let error = Bookmark::new(name + "n", "").expect_err("too long");
        assert_eq!(
            error.to_string(),
            "a bookmark's name has 513 bytes, more than 512"
        );
        assert_eq!(Bookmark::new("a\0b", ""), Err(BookmarkError::Name));
    }
}
