//! TLS on the way to somebody, in builds that have it (feature `tls`).

#[cfg(feature = "tls")]
pub use with::Trust;
#[cfg(not(feature = "tls"))]
pub use without::Trust;

use zeroize::Zeroizing;

/// Certificates or a key as text (PEM), and the name of the file that they are from.
#[derive(Clone)]
pub struct Pem {
    /// The text, wiped when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The file's name, for complaints.
    pub name: String,
}

#[cfg(not(feature = "tls"))]
mod without {
    use super::Pem;
    use smol::net::TcpStream;
    use std::path::Path;

    /// Whom we believe: there is nobody in this build.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Trust {}

    impl Trust {
        /// # Errors
        /// Always.
        pub fn new(_: Option<&Path>) -> Result<Self, String> {
            Err(
                "this program was built without TLS: it cannot reach https:// (build it with --features tls)"
                    .to_owned(),
            )
        }

        /// # Errors
        /// Always.
        pub fn of_pem(_: &Pem, _: Option<&(Pem, Pem)>) -> Result<Self, String> {
            Self::new(None)
        }

        pub(in crate::http_client) async fn greet(
            &self,
            _: &str,
            _: TcpStream,
        ) -> Result<TcpStream, String> {
            match *self {}
        }
    }
}

#[cfg(feature = "tls")]
mod with {
    use super::Pem;
    use futures_rustls::client::TlsStream;
    use futures_rustls::{TlsConnector, rustls};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use smol::net::TcpStream;
    use std::path::Path;
    use std::sync::Arc;
    use zeroize::Zeroizing;

    /// Debian's and its descendants' list of authorities.
    const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

    /// Whom we believe: those whom the authorities of a file vouch for.
    #[derive(Clone)]
    pub struct Trust(Arc<ClientConfig>);

    impl std::fmt::Debug for Trust {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Trust")
        }
    }

    impl PartialEq for Trust {
        fn eq(&self, other: &Self) -> bool {
            Arc::ptr_eq(&self.0, &other.0)
        }
    }

    impl Eq for Trust {}

    impl Trust {
        /// The authorities of `file` (PEM), or those of the system.
        ///
        /// # Errors
        /// The file cannot be read, or there is none in it.
        pub fn new(file: Option<&Path>) -> Result<Self, String> {
            let file = file.unwrap_or(Path::new(SYSTEM));
            let name = file.display().to_string();
            let bytes = std::fs::read(file).map_err(|e| format!("{name}: {e}"))?;
            let bytes = Zeroizing::new(bytes);
            Self::of_pem(&Pem { bytes, name }, None)
        }

        /// These authorities; and where somebody wants to see it, this certificate with its key.
        ///
        /// # Errors
        /// What should be in them is not, or it cannot be used.
        pub fn of_pem(authorities: &Pem, shown: Option<&(Pem, Pem)>) -> Result<Self, String> {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(authorities)? {
                roots.add(certificate).map_err(|e| {
                    wrong(
                        authorities,
                        &format!("a certificate in it cannot be used: {e}"),
                    )
                })?;
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider has suites of TLS 1.2 and 1.3")
                .with_root_certificates(roots);
            let mut config = match shown {
                None => config.with_no_client_auth(),
                Some((certificate, key)) => {
                    let secret = PrivateKeyDer::from_pem_slice(&key.bytes);
                    let secret = secret.map_err(|e| wrong(key, &e.to_string()))?;
                    config
                        .with_client_auth_cert(certificates(certificate)?, secret)
                        .map_err(|e| wrong(certificate, &e.to_string()))?
                }
            };
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Self(Arc::new(config)))
        }

        /// TLS with `authority` (host and port) over `stream`.
        pub(in crate::http_client) async fn greet(
            &self,
            authority: &str,
            stream: TcpStream,
        ) -> Result<TlsStream<TcpStream>, String> {
            let host = authority
                .rsplit_once(':')
                .map_or(authority, |(host, _)| host);
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let name = ServerName::try_from(host).map_err(|e| e.to_string())?;
            let connector = TlsConnector::from(self.0.clone());
            let greeting = connector.connect(name, stream);
            greeting.await.map_err(|e| e.to_string())
        }
    }

    fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.bytes).collect();
        let found = found.map_err(|e| wrong(pem, &e.to_string()))?;
        match found.is_empty() {
            true => Err(wrong(pem, "there is no PEM block CERTIFICATE in it")),
            false => Ok(found),
        }
    }

    fn wrong(pem: &Pem, why: &str) -> String {
        format!("{}: {why}", pem.name)
    }
}
