//! A source of type `ncmp`, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

use super::NamedFile;
use super::load::SourceFault;
use super::raw::ncmp::{RawKafkaStart, RawKafkaTls, RawNcmp, RawSasl, RawSaslMechanism};
use super::scalar::{BrokerAddress, PropertyText};
use super::secret::{self, SecretPlace};

/// The topic of events of CM handles, as onap/cps comes with it (`app.lcm.events.topic`).
const TOPIC: &str = "ncmp-events";

/// Whether this hem can read Kafka.
const READS_KAFKA: bool = cfg!(feature = "kafka");

/// Properties of librdkafka that hem decides itself, and what to write instead.
const DECIDED: &[(&str, &str)] = &[
    ("bootstrap.servers", "`brokers` says it"),
    ("metadata.broker.list", "`brokers` says it"),
    ("group.id", "`group_id` says it"),
    ("group.protocol", "hem reads as a member of a classic group"),
    (
        "group.remote.assignor",
        "hem reads as a member of a classic group",
    ),
    (
        "partition.assignment.strategy",
        "members of one group must agree on it",
    ),
    ("enable.auto.commit", "hem commits what it has accepted"),
    ("enable.auto.offset.store", "hem commits what it has accepted"),
    ("auto.commit.interval.ms", "hem commits what it has accepted"),
    ("auto.commit.enable", "hem commits what it has accepted"),
    ("auto.offset.reset", "`start` says it"),
    ("enable.partition.eof", "hem has no use for it"),
    ("allow.auto.create.topics", "reading makes no topic"),
    ("security.protocol", "`tls` and `sasl` say it"),
    ("sasl.mechanism", "`sasl` says it"),
    ("sasl.mechanisms", "`sasl` says it"),
    ("sasl.username", "`sasl` says it"),
    (
        "sasl.password",
        "a secret stands in a file, which `sasl: { password: { file: … } }` names",
    ),
    ("ssl.ca.location", "`tls` says it"),
    ("ssl.ca.pem", "`tls` says it"),
    ("ssl.certificate.location", "`tls` says it"),
    ("ssl.certificate.pem", "`tls` says it"),
    ("ssl.key.location", "`tls` says it"),
    (
        "ssl.key.pem",
        "a secret stands in a file, which `tls: { key: … }` names",
    ),
    (
        "ssl.key.password",
        "a secret stands in a file, which `tls: { passphrase: { file: … } }` names",
    ),
    (
        "ssl.keystore.password",
        "a secret stands in a file, which `tls: { passphrase: { file: … } }` names",
    ),
    (
        "sasl.oauthbearer.client.secret",
        "a secret does not stand in this file",
    ),
    ("plugin.library.paths", "hem loads no libraries"),
    ("ssl.engine.location", "hem loads no libraries"),
];

/// ONAP's network configuration management proxy, read from a Kafka broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NcmpSource {
    /// Brokers to begin with; one at least.
    pub brokers: Vec<BrokerAddress>,
    /// The topics that are read; one at least, each once.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group_id: String,
    /// Where the very first reading of a partition begins.
    pub start: KafkaStart,
    /// TLS; none where unset.
    pub tls: Option<KafkaTls>,
    /// Who hem is to the broker; nobody in particular where unset.
    pub sasl: Option<Sasl>,
    /// Further properties of librdkafka.
    pub properties: BTreeMap<String, String>,
}

/// Where the very first reading of a partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaStart {
    /// With what comes from now on.
    Latest,
    /// With the oldest record that is there.
    Earliest,
}

/// TLS to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaTls {
    /// The authorities that may vouch for the broker; the system's own where unset.
    pub ca: Option<PathBuf>,
    /// hem's own certificate, where the broker wants one.
    pub identity: Option<KafkaIdentity>,
}

/// hem's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaIdentity {
    /// The certificate and those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What opens the private key, where it is encrypted.
    pub passphrase: Option<SecretPlace>,
}

/// Who hem is to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How it shows that, as Kafka writes it: `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The user's name.
    pub user: String,
    /// Where the password is.
    pub password: SecretPlace,
}

impl NcmpSource {
    /// The brokers to begin with as one text, as librdkafka takes it: `kafka1:9092,kafka2:9092`.
    pub fn bootstrap(&self) -> String {
        let brokers: Vec<String> = self.brokers.iter().map(ToString::to_string).collect();
        brokers.join(",")
    }

    /// The files that its settings name, by the path below the source's own.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let mut files = Vec::new();
        if let Some(tls) = &self.tls {
            let ca = tls.ca.iter().map(|path| NamedFile::plain(path, &["tls", "ca"]));
            files.extend(ca);
            if let Some(identity) = &tls.identity {
                files.push(NamedFile::plain(&identity.certificate, &["tls", "certificate"]));
                files.push(NamedFile::secret(&identity.key, &["tls", "key"]));
                let passphrase = identity.passphrase.as_ref();
                files.extend(passphrase.and_then(|place| secret::named_file(place, &["tls", "passphrase"])));
            }
        }
        let password = self.sasl.as_ref().map(|sasl| &sasl.password);
        files.extend(password.and_then(|place| secret::named_file(place, &["sasl", "password"])));
        files
    }
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(raw: RawNcmp, folder: &Path) -> Result<NcmpSource, SourceFault> {
    if !READS_KAFKA {
        return Err(SourceFault::at(
            &raw.kind,
            "this hem was built without the feature `kafka`, which sources of type `ncmp` need; the packages have it, and so has what \
             `cargo build --release --features kafka` makes"
                .to_owned(),
        ));
    }
    if raw.brokers.value.is_empty() {
        return Err(SourceFault::at(
            &raw.brokers,
            "the list is empty; name a broker, `brokers: [ \"kafka.example.org:9092\" ]`".to_owned(),
        ));
    }
    let topics = match raw.topics {
        None => vec![TOPIC.to_owned()],
        Some(list) if list.value.is_empty() => {
            return Err(SourceFault::at(
                &list,
                format!("the list is empty, so nothing would be read; leave it out for `[{TOPIC}]`"),
            ));
        }
        Some(list) => {
            let mut topics: Vec<String> = Vec::new();
            for topic in &list.value {
                if topics.contains(&topic.0) {
                    return Err(SourceFault::at(
                        &list,
                        format!("the topic `{}` stands twice in it", topic.0),
                    ));
                }
                topics.push(topic.0.clone());
            }
            topics
        }
    };
    let is_local = raw.brokers.value.iter().all(BrokerAddress::is_loopback);
    Ok(NcmpSource {
        sasl: raw
            .sasl
            .map(|sasl| check_sasl(sasl, raw.tls.is_some() || is_local, folder))
            .transpose()?,
        brokers: raw.brokers.value,
        topics,
        group_id: raw.group_id.0,
        start: match raw.start {
            None | Some(RawKafkaStart::Latest) => KafkaStart::Latest,
            Some(RawKafkaStart::Earliest) => KafkaStart::Earliest,
        },
        tls: raw.tls.map(|tls| check_tls(tls, folder)).transpose()?,
        properties: check_properties(raw.librdkafka.unwrap_or_default())?,
    })
}

fn check_tls(raw: RawKafkaTls, folder: &Path) -> Result<KafkaTls, SourceFault> {
    let identity = match (raw.certificate, raw.key, raw.passphrase) {
        (Some(certificate), Some(key), passphrase) => Some(KafkaIdentity {
            certificate: folder.join(certificate.value),
            key: folder.join(key.value),
            passphrase: passphrase.map(|place| secret::check(place, folder)).transpose()?,
        }),
        (None, None, None) => None,
        (Some(certificate), None, _) => {
            return Err(SourceFault::at(
                &certificate,
                "a certificate needs its private key: `key: …`".to_owned(),
            ));
        }
        (None, Some(key), _) => {
            return Err(SourceFault::at(
                &key,
                "a private key needs its certificate: `certificate: …`".to_owned(),
            ));
        }
        (None, None, Some(passphrase)) => {
            return Err(SourceFault::at(
                &passphrase,
                "there is no private key that it could open".to_owned(),
            ));
        }
    };
    Ok(KafkaTls {
        ca: raw.ca.map(|file| folder.join(file)),
        identity,
    })
}

/// `is_covered`: nobody on the way can read along.
fn check_sasl(raw: Spanned<RawSasl>, is_covered: bool, folder: &Path) -> Result<Sasl, SourceFault> {
    let mechanism = match raw.value.mechanism {
        RawSaslMechanism::Plain if !is_covered => {
            return Err(SourceFault::at(
                &raw,
                "with PLAIN the password would go over the network in clear; set `tls`, or take SCRAM-SHA-512".to_owned(),
            ));
        }
        RawSaslMechanism::Plain => "PLAIN",
        RawSaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        RawSaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    };
    Ok(Sasl {
        mechanism,
        user: raw.value.user,
        password: secret::check(raw.value.password, folder)?,
    })
}

/// Whether there is a property of this name is known to librdkafka alone.
fn check_properties(
    raw: BTreeMap<String, Spanned<PropertyText>>,
) -> Result<BTreeMap<String, String>, SourceFault> {
    let mut properties = BTreeMap::new();
    for (name, value) in raw {
        let decided = DECIDED.iter().find(|(decided, _)| *decided == name);
        // Properties of topics stand beside all others and are decided all the same.
        if let Some((_, instead)) = decided {
            return Err(SourceFault::at(
                &value,
                format!("`{name}` is not to be set here: {instead}"),
            ));
        }
        if name.is_empty() || name.contains('\0') {
            return Err(SourceFault::at(
                &value,
                format!("`{name}` is no name of a property"),
            ));
        }
        properties.insert(name, value.value.0);
    }
    Ok(properties)
}

#[cfg(test)]
#[cfg(feature = "kafka")]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError, Place, Source};

    fn read(settings: &str) -> Result<NcmpSource, ConfigError> {
        let text = format!("sources:\n  z: {{ type: ncmp, {settings} }}\n");
        let mut config = Config::from_text(&text, Path::new("/etc/hem/hem.yaml"), &Place::default())?;
        match config.sources.remove("z") {
            Some(Source::Ncmp(source)) => Ok(source),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_broker_and_a_group_are_enough() {
        let source = read("brokers: [kafka], group_id: hem").expect("a source");
        assert_eq!(source.brokers[0].to_string(), "kafka:9092");
        assert_eq!(source.topics, ["ncmp-events"]);
        assert_eq!(source.start, KafkaStart::Latest);
        assert_eq!((source.tls, source.sasl), (None, None));
        assert_eq!(source.properties, BTreeMap::new());
    }

    #[test]
    fn every_setting_reaches_the_checked_form() {
        let source = read(
            "brokers: [\"10.0.0.1:9093\", \"[::1]:9094\"], topics: [ncmp-events, cm-events], group_id: g, start: earliest, \
             tls: { ca: ca.pem, certificate: hem.pem, key: hem.key, passphrase: { env: HEM_KEY } }, \
             sasl: { mechanism: SCRAM-SHA-512, user: hem, password: { file: kafka.password } }, \
             librdkafka: { session.timeout.ms: 45000, socket.nagle.disable: true, client.rack: \"r1\" }",
        )
        .expect("a source");
        let files: Vec<_> = source
            .named_files()
            .into_iter()
            .map(|file| (file.setting.join("."), file.path.to_owned(), file.is_secret))
            .collect();
        let below = |name: &str| Path::new("/etc/hem").join(name);
        let expected = [
            ("tls.ca".to_owned(), below("ca.pem"), false),
            ("tls.certificate".to_owned(), below("hem.pem"), false),
            ("tls.key".to_owned(), below("hem.key"), true),
            ("sasl.password.file".to_owned(), below("kafka.password"), true),
        ];
        assert_eq!(files, expected);
        assert_eq!(source.brokers[1].to_string(), "[::1]:9094");
        assert_eq!(source.topics, ["ncmp-events", "cm-events"]);
        assert_eq!(source.start, KafkaStart::Earliest);
        assert_eq!(source.sasl.expect("a user").mechanism, "SCRAM-SHA-512");
        let properties: Vec<_> = source
            .properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            properties,
            [
                "client.rack=r1",
                "session.timeout.ms=45000",
                "socket.nagle.disable=true"
            ]
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        let said = |settings: &str| read(settings).expect_err(settings).to_string();
        for (settings, reason) in [
            ("group_id: hem", "brokers"),
            ("brokers: [a]", "group_id"),
            ("brokers: [], group_id: hem", "the list is empty"),
            ("brokers: [\"a b\"], group_id: hem", "`a b` is no broker"),
            ("brokers: [a], group_id: hem, topics: []", "nothing would be read"),
            ("brokers: [a], group_id: hem, topics: [x, x]", "stands twice"),
            (
                "brokers: [a], group_id: hem, topics: [\"^x\"]",
                "`^x` is no name of a topic",
            ),
            (
                "brokers: [a], group_id: hem, tls: { key: k }",
                "needs its certificate",
            ),
            (
                "brokers: [a], group_id: hem, tls: { certificate: k }",
                "needs its private key",
            ),
            (
                "brokers: [a], group_id: hem, tls: { passphrase: { file: f } }",
                "no private key",
            ),
            (
                "brokers: [a, localhost], group_id: hem, sasl: { mechanism: PLAIN, user: u, password: { file: f } }",
                "in clear",
            ),
            (
                "brokers: [a], group_id: hem, librdkafka: { enable.auto.commit: true }",
                "`enable.auto.commit` is not to be set here: hem commits what it has accepted",
            ),
            (
                "brokers: [a], group_id: hem, librdkafka: { ssl.engine.location: /usr/lib/engine.so }",
                "`ssl.engine.location` is not to be set here: hem loads no libraries",
            ),
        ] {
            let said = said(settings);
            assert!(said.contains(reason), "{settings}: {said}");
        }
        // On this machine, or under TLS, nobody reads along.
        for settings in ["brokers: [localhost]", "brokers: [a], tls: {}"] {
            let plain = "group_id: g, sasl: { mechanism: PLAIN, user: u, password: { file: f } }";
            assert!(read(&format!("{settings}, {plain}")).is_ok(), "{settings}");
        }
    }
}

#[cfg(test)]
#[cfg(not(feature = "kafka"))]
mod tests {
    use std::path::Path;

    use crate::config::{Config, Place};

    #[test]
    fn a_hem_that_cannot_read_kafka_says_which_one_can() {
        let text = "sources:\n  z: { type: ncmp, brokers: [a], group_id: g }\n";
        let error =
            Config::from_text(text, Path::new("/etc/hem/hem.yaml"), &Place::default()).expect_err("refused");
        assert!(
            error.to_string().contains("built without the feature `kafka`"),
            "{error}"
        );
    }
}
