//! TLS on the way to a daemon (`--url https://...`), in builds that have it (feature `tls`).

#[cfg(feature = "tls")]
pub use with::Trust;
#[cfg(not(feature = "tls"))]
pub use without::Trust;

#[cfg(not(feature = "tls"))]
mod without {
    use crate::cli::exit::Failure;
    use smol::net::TcpStream;
    use std::path::Path;

    /// Whom we believe that they are the daemon: there is none in this build.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Trust {}

    impl Trust {
        /// # Errors
        /// Always.
        pub fn new(_: Option<&Path>) -> Result<Self, Failure> {
            Err(Failure::Usage(
                "this rackbmc was built without TLS: it cannot reach https:// (build it with --features tls)".into(),
            ))
        }

        pub async fn greet(&self, _: &str, _: TcpStream) -> Result<TcpStream, Failure> {
            match *self {}
        }
    }
}

#[cfg(feature = "tls")]
mod with {
    use crate::cli::exit::Failure;
    use futures_rustls::client::TlsStream;
    use futures_rustls::{TlsConnector, rustls};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use smol::net::TcpStream;
    use std::path::Path;
    use std::sync::Arc;

    /// Debian's and its descendants' list of authorities.
    const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

    /// Whom we believe that they are the daemon: those whom the authorities of a file vouch for.
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
        pub fn new(file: Option<&Path>) -> Result<Self, Failure> {
            let file = file.unwrap_or(Path::new(SYSTEM));
            let wrong = |why: String| Failure::Usage(format!("{}: {why}", file.display()));
            let mut roots = RootCertStore::empty();
            let found = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|e| wrong(format!("a certificate in it cannot be used: {e}")))?;
            }
            if roots.is_empty() {
                return Err(wrong("there is no PEM block CERTIFICATE in it".into()));
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider has suites of TLS 1.2 and 1.3")
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Trust(Arc::new(config)))
        }

        /// TLS with `authority` (host and port) over `stream`.
        ///
        /// # Errors
        /// It is not whom we believe.
        pub async fn greet(
            &self,
            authority: &str,
            stream: TcpStream,
        ) -> Result<TlsStream<TcpStream>, Failure> {
            let broken = |why: String| Failure::Broken {
                at: authority.to_owned(),
                why,
            };
            let host = authority
                .rsplit_once(':')
                .map_or(authority, |(host, _)| host);
            let host = host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned();
            let name = ServerName::try_from(host).map_err(|e| broken(e.to_string()))?;
            let connector = TlsConnector::from(self.0.clone());
            let greeting = connector.connect(name, stream);
            greeting
                .await
                .map_err(|e| broken(format!("no TLS with it: {e}")))
        }
    }
}
