//! Which authorities are trusted to say who a server is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Where systems keep the authorities that they trust: Debian, Red Hat, SUSE, Alpine.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is not in PEM form.
    #[error("cannot read the authorities in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file holds no certificate that can be used.
    #[error("`{}` holds no certificate of an authority", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The system keeps no such file where one is known to be.
    #[error("this system keeps no file of authorities (looked for {}); name one with `ca_file`", SYSTEM.join(", "))]
    NoSystemFile,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Unusable(#[source] rustls::Error),
}

/// What shakes hands with servers that an authority in `ca_file`, or in the system's own file, vouches for.
pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, TrustError> {
    let path = match ca_file {
        Some(path) => path,
        None => SYSTEM
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .ok_or(TrustError::NoSystemFile)?,
    };
    let mut roots = RootCertStore::empty();
    let unreadable = |source| TrustError::Read {
        path: path.to_owned(),
        source,
    };
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        // A system's file may hold one that rustls cannot use, beside a hundred that it can.
        let _ = roots.add(certificate.map_err(unreadable)?);
    }
    if roots.is_empty() {
        return Err(TrustError::Empty {
            path: path.to_owned(),
        });
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Unusable)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
