//! Which version of the API a request asks for.

/// A version of the API, 1.0 to 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Microversion(u8);

/// The latest one: 1.3.
const LATEST: u8 = 3;

/// Why there is no such version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoVersion {
    /// It is written as no version is.
    Malformed(String),
    /// It is none of this API's.
    Unknown(String),
}

impl NoVersion {
    /// What the service says.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Malformed(text) => format!(
                "API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
            ),
            Self::Unknown(text) => format!(
                "Version {text} is not supported by the API. Minimum is 1.0 and maximum is 1.{LATEST}."
            ),
        }
    }
}

impl Microversion {
    /// The first one that tells of the recovery workflow.
    pub(super) const WITH_WORKFLOW: Self = Self(1);

    /// The first one that tells whether a segment is enabled.
    pub(super) const WITH_ENABLED: Self = Self(2);

    /// Reads the header `OpenStack-API-Version`: `instance-ha 1.1`, `instance-ha latest`. Other services are passed over; of several
    /// the last one counts.
    ///
    /// # Errors
    /// See [`NoVersion`].
    pub(super) fn read(header: Option<&str>) -> Result<Self, NoVersion> {
        let asked = header.unwrap_or_default().rsplit(',').find_map(|part| {
            let (service, version) = part.trim().split_once(char::is_whitespace)?;
            service
                .eq_ignore_ascii_case("instance-ha")
                .then(|| version.trim())
        });
        let Some(asked) = asked else {
            return Ok(Self(0));
        };
        if asked == "latest" {
            return Ok(Self(LATEST));
        }
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (major, minor) = asked
            .split_once('.')
            .filter(|(major, minor)| {
                is_number(major)
                    && is_number(minor)
                    && !major.starts_with('0')
                    && (*minor == "0" || !minor.starts_with('0'))
            })
            .ok_or_else(|| NoVersion::Malformed(asked.to_owned()))?;
        match minor.parse() {
            Ok(minor) if major == "1" && minor <= LATEST => Ok(Self(minor)),
            _ => Err(NoVersion::Unknown(asked.to_owned())),
        }
    }

    /// What the answer's header says.
    pub(super) fn header(self) -> String {
        format!("instance-ha 1.{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_header_is_read_as_openstack_does() {
        for (header, version) in [
            (None, 0),
            (Some(""), 0),
            (Some("masakari 1.3"), 0),
            (Some("instance-ha 1.1"), 1),
            (Some("Instance-HA   1.2 "), 2),
            (Some("instance-ha latest"), 3),
            (Some("instance-ha 1.1, instance-ha 1.2, compute 2.9"), 2),
            (Some("instance-ha"), 0),
        ] {
            assert_eq!(
                Microversion::read(header),
                Ok(Microversion(version)),
                "{header:?}"
            );
        }
        for text in ["abc", "1", "1.", "1.01", "0.1", "1.1.1", "-1.0", "１.0"] {
            let read = Microversion::read(Some(&format!("instance-ha {text}")));
            assert_eq!(read, Err(NoVersion::Malformed(text.to_owned())));
        }
        for text in ["1.4", "1.9", "2.0", "1.999999999999"] {
            let read = Microversion::read(Some(&format!("instance-ha {text}")));
            assert_eq!(read, Err(NoVersion::Unknown(text.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "(instance-ha|,| |latest|[0-9]|\\.|\\PC){0,12}") {
            let _ = Microversion::read(Some(&header));
        }
    }
}
