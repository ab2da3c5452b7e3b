//! `tls_certificate` and `tls_key` of `[api]`: read, and held against each other, before anything
//! listens.
//!
//! Built without the feature `tls`, the keys are refused: one who writes them must not get a port
//! that anybody can read along.

use super::complaint::{At, Findings};
use super::files::Secrets;
use super::section::Section;
use std::fmt;

/// A certificate with the key that belongs to it. A build without the feature `tls` can have none.
#[derive(Clone)]
pub struct Tls {
    #[cfg(feature = "tls")]
    server: std::sync::Arc<rustls::ServerConfig>,
    #[cfg(not(feature = "tls"))]
    never: std::convert::Infallible,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(not(feature = "tls"))]
impl PartialEq for Tls {
    fn eq(&self, _: &Self) -> bool {
        match self.never {}
    }
}

/// Refuses the keys.
#[cfg(not(feature = "tls"))]
pub(super) fn read(
    section: &mut Section<'_>,
    _: &Secrets<'_>,
    findings: &mut Findings<'_>,
) -> Option<At<Tls>> {
    for key in ["tls_certificate", "tls_key"] {
        if let Some(typed) = section.nonempty(key, findings) {
            let text = format!(
                "{key}: this rackbmcd was built without TLS: build it with --features tls, or let tcp listen on \
                 loopback with a TLS proxy before it"
            );
            findings.complain(&typed.span, text);
        }
    }
    None
}

#[cfg(feature = "tls")]
pub(super) use with::read;

#[cfg(feature = "tls")]
mod with {
    use super::*;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{Error, InconsistentKeys, ServerConfig};
    use std::sync::Arc;

    impl Tls {
        /// What a server needs to know.
        pub fn server(&self) -> Arc<ServerConfig> {
            self.server.clone()
        }
    }

    impl PartialEq for Tls {
        fn eq(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.server, &other.server)
        }
    }

    /// Reads the two keys and what they name.
    pub(crate) fn read(
        section: &mut Section<'_>,
        secrets: &Secrets<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<At<Tls>> {
        let certificate = section.nonempty("tls_certificate", findings);
        let key = section.nonempty("tls_key", findings);
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let span = certificate.span.clone();
                load(certificate, key, secrets, findings).map(|tls| At::new(tls, span))
            }
            (Some(alone), None) => {
                findings.missing(&alone.span, "tls_certificate without tls_key: write both");
                None
            }
            (None, Some(alone)) => {
                findings.missing(&alone.span, "tls_key without tls_certificate: write both");
                None
            }
            (None, None) => None,
        }
    }

    /// The certificate (with those that lead to its authority) and its key, once they were seen to
    /// belong together.
    fn load(
        certificate: At<String>,
        key: At<String>,
        secrets: &Secrets<'_>,
        findings: &mut Findings<'_>,
    ) -> Option<Tls> {
        let (chain_path, key_path) = (secrets.path(&certificate.value), secrets.path(&key.value));
        let chain = secrets
            .read(&chain_path, &certificate.span, findings)
            .and_then(|content| {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(&content.bytes).collect();
                let why = match chain {
                    Ok(chain) if !chain.is_empty() => return Some(chain),
                    Ok(_) => "there is no PEM block CERTIFICATE in it".to_owned(),
                    Err(error) => error.to_string(),
                };
                let complaint = format!("{} is no certificate: {why}", chain_path.display());
                findings.complain(&certificate.span, complaint);
                None
            });
        let private = secrets
            .private(&key_path, &key.span, findings)
            .and_then(|content| {
                PrivateKeyDer::from_pem_slice(&content.bytes)
                    .map_err(|error| {
                        let complaint =
                            format!("{} is no private key: {error}", key_path.display());
                        findings.complain(&key.span, complaint);
                    })
                    .ok()
            });
        let (chain, private) = (chain?, private?);
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| {
                let (chain, key_path) = (chain_path.display(), key_path.display());
                let complaint = match error {
                    Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                        format!(
                            "the key in {key_path} does not belong to the certificate in {chain}"
                        )
                    }
                    error => format!("{chain} and {key_path} cannot be used: {error}"),
                };
                findings.complain(&key.span, complaint);
            })
            .ok()?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Some(Tls {
            server: Arc::new(server),
        })
    }
}
