//! TLS by files that may be replaced while hem runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::{Accept, TlsAcceptor};
use tokio_util::sync::CancellationToken;

use crate::config::listen;
use crate::watched::{Watched, Words, keep_looking};

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not in PEM form.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file holds no certificate.
    #[error("`{}` holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The certificate cannot be used with the key.
    #[error("the certificate and the key cannot be used together")]
    Unusable(#[source] rustls::Error),
}

/// How the log speaks of it.
const WORDS: Words = Words {
    what: "the certificate or its key",
    // The second of two files may be on its way.
    meanwhile: "the former certificate stays in force",
};

/// The certificate in force.
#[derive(Debug)]
pub(super) struct Tls {
    files: listen::Tls,
    in_force: Watched<ServerConfig>,
}

impl Tls {
    /// Reads the files for the first time.
    pub(super) fn load(files: &listen::Tls) -> Result<Self, TlsError> {
        let watched = vec![files.certificate.clone(), files.key.clone()];
        Ok(Self {
            files: files.clone(),
            in_force: Watched::read(watched, WORDS, || read(files))?,
        })
    }

    /// Shakes hands on a connection, with the certificate that is in force now.
    pub(super) fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Accept<S> {
        TlsAcceptor::from(self.in_force.get()).accept(stream)
    }

    /// Reads the files again whenever they change, until `until`.
    pub(super) async fn follow(&self, until: &CancellationToken) {
        keep_looking(until, || self.in_force.look(|| read(&self.files))).await;
    }
}

fn read(files: &listen::Tls) -> Result<ServerConfig, TlsError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| TlsError::Read { path, source }
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .map_err(unreadable(&files.certificate))?
        .collect::<Result<_, _>>()
        .map_err(unreadable(&files.certificate))?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate {
            path: files.certificate.clone(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable(&files.key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
