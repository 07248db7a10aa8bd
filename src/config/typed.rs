//! Sources have different settings by their `type`. The type is read first, and then each source in the form of its type, straight
//! from the text, so that what is wrong keeps its line and column.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::raw::{RawSource, RawSourceHead, RawSourceType};
use super::scalar::SourceName;

type Heads = BTreeMap<SourceName, RawSourceHead>;
type Sources = BTreeMap<SourceName, RawSource>;

/// Reads the sources of a configuration whose types are known already.
pub(super) fn read_sources(
    text: &str,
    options: serde_saphyr::Options,
    heads: &Heads,
) -> Result<Sources, serde_saphyr::Error> {
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        Document(heads).deserialize(deserializer)
    })
}

/// The whole file, of which everything but `sources` is passed over.
struct Document<'a>(&'a Heads);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Sources;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Sources, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Sources;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut settings: A) -> Result<Sources, A::Error> {
        let mut sources = Sources::new();
        while let Some(setting) = settings.next_key::<String>()? {
            if setting == "sources" {
                sources = settings.next_value_seed(OfTypes(self.0))?;
            } else {
                settings.next_value::<IgnoredAny>()?;
            }
        }
        Ok(sources)
    }
}

/// The mapping of sources, each read by its type.
struct OfTypes<'a>(&'a Heads);

impl<'de> DeserializeSeed<'de> for OfTypes<'_> {
    type Value = Sources;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Sources, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OfTypes<'_> {
    type Value = Sources;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of sources by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Sources, A::Error> {
        let mut sources = Sources::new();
        while let Some(name) = entries.next_key::<SourceName>()? {
            let source = match self.0.get(&name).map(|head| head.kind) {
                Some(RawSourceType::Opennebula) => RawSource::Opennebula(entries.next_value()?),
                Some(RawSourceType::Webhook) => RawSource::Webhook(entries.next_value()?),
                Some(RawSourceType::Masakari) => RawSource::Masakari(entries.next_value()?),
                Some(RawSourceType::Esc) => RawSource::Esc(entries.next_value()?),
                Some(RawSourceType::Ncmp) => RawSource::Ncmp(entries.next_value()?),
                // The first reading found the same names.
                None => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            sources.insert(name, source);
        }
        Ok(sources)
    }
}
