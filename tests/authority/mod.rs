//! Certificates for the tests, made by openssl.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test program uses its own part; a test that cannot go on says where"
)]

use std::process::Command;

use crate::daemon::House;
use crate::service;

/// Runs openssl, which `tests/install-tools` brings.
pub(crate) async fn openssl(arguments: &[&str]) {
    let mut command = Command::new("openssl");
    command.args(arguments);
    let made = service::said(command).await;
    assert_eq!(made.code, 0, "openssl {arguments:?}: {}", made.stderr);
}

/// Makes an authority and a certificate that it gave to 127.0.0.1.
pub(crate) async fn certify(house: &House) {
    let file = |name: &str| house.path(name).display().to_string();
    let (ca, ca_key, certificate, key) = (file("ca.pem"), file("ca.key"), file("tls.pem"), file("tls.key"));
    let common = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ];
    let authority = ["-subj", "/CN=authority", "-keyout", &ca_key, "-out", &ca];
    openssl(&[common.as_slice(), &authority].concat()).await;
    let server = [
        "-subj",
        "/CN=hem",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-keyout",
        &key,
        "-out",
        &certificate,
    ];
    openssl(&[common.as_slice(), &server].concat()).await;
}
