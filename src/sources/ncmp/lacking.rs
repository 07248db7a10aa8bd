//! What a hem that was built without Kafka has instead of a source. The configuration check refuses such a source before.

use crate::config::NcmpSource;
use crate::engine::intake::Limits;
use crate::sources::{BuildError, Built, Site, Source};

impl Source for NcmpSource {
    fn kind(&self) -> &'static str {
        "ncmp"
    }

    fn queue(&self) -> Limits {
        Limits { events: 0, bytes: 0 }
    }

    fn build(&self, _: &Site<'_>) -> Result<Built, BuildError> {
        Err(BuildError::Lacks("kafka"))
    }
}
