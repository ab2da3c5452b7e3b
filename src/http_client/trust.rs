//! TLS on the way to somebody, in builds that have it (feature `tls`).

#[cfg(feature = "tls")]
pub(crate) use with::Trust;
#[cfg(not(feature = "tls"))]
pub(crate) use without::Trust;

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

        pub(in crate::http_client) fn in_words(
            &self,
            _: &(dyn std::error::Error + 'static),
        ) -> Option<String> {
            match *self {}
        }
    }
}

#[cfg(feature = "tls")]
mod with {
    use super::Pem;
    use futures_rustls::client::TlsStream;
    use futures_rustls::{TlsConnector, rustls};
    use jiff::Timestamp;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
    use smol::net::TcpStream;
    use std::error::Error;
    use std::io::ErrorKind;
    use std::path::Path;
    use std::sync::Arc;
    use zeroize::Zeroizing;

    /// Debian's and its descendants' list of authorities.
    const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

    /// Whom we believe: those whom the authorities of a file vouch for.
    #[derive(Clone)]
    pub struct Trust(Arc<Inner>);

    struct Inner {
        config: Arc<ClientConfig>,
        /// The file of the authorities, for complaints.
        authorities: String,
        /// Whether we have a certificate to show.
        shows: bool,
    }

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
            Ok(Self(Arc::new(Inner {
                config: Arc::new(config),
                authorities: authorities.name.clone(),
                shows: shown.is_some(),
            })))
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
            let connector = TlsConnector::from(self.0.config.clone());
            let greeting = connector.connect(name, stream).await;
            greeting.map_err(|e| match (self.in_words(&e), e.kind()) {
                (Some(why), _) => why,
                (None, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                    "it ends the connection as TLS begins: does it speak TLS?".to_owned()
                }
                (None, _) => e.to_string(),
            })
        }

        /// What TLS has against the other side, or the other side against us, where that is the
        /// reason of a failure.
        pub(in crate::http_client) fn in_words(
            &self,
            error: &(dyn Error + 'static),
        ) -> Option<String> {
            match reason(error)? {
                rustls::Error::InvalidCertificate(why) => self.not_believed(why),
                rustls::Error::InvalidMessage(_) => Some("it does not speak TLS".to_owned()),
                rustls::Error::AlertReceived(alert) => self.not_taken(*alert),
                _ => None,
            }
        }

        /// Why we do not believe a certificate.
        fn not_believed(&self, why: &CertificateError) -> Option<String> {
            let day = |time: &UnixTime| {
                let seconds = i64::try_from(time.as_secs()).ok()?;
                Some(Timestamp::from_second(seconds).ok()?.to_string())
            };
            match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Some(format!(
                    "none of the authorities in {} has signed its certificate",
                    self.0.authorities
                )),
                CertificateError::ExpiredContext { not_after, .. } => Some(format!(
                    "its certificate was valid until {}",
                    day(not_after)?
                )),
                CertificateError::NotValidYetContext { not_before, .. } => Some(format!(
                    "its certificate is valid from {}",
                    day(not_before)?
                )),
                CertificateError::NotValidForNameContext {
                    expected,
                    presented,
                } => Some(format!(
                    "its certificate is not for {}, but for {}",
                    expected.to_str(),
                    presented.join(", ")
                )),
                _ => None,
            }
        }

        /// Why the other side does not go on with us, where that is for our certificate.
        fn not_taken(&self, alert: AlertDescription) -> Option<String> {
            match alert {
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::HandshakeFailure
                    if !self.0.shows =>
                {
                    Some("it wants to be shown a certificate".to_owned())
                }
                AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied
                | AlertDescription::UnknownCA => Some(format!(
                    "it does not take our certificate: {}",
                    alert_in_words(alert)
                )),
                _ => None,
            }
        }
    }

    fn alert_in_words(alert: AlertDescription) -> &'static str {
        match alert {
            AlertDescription::CertificateExpired => "it has expired",
            AlertDescription::CertificateRevoked => "it was revoked",
            AlertDescription::UnknownCA => "an authority that is not known there has signed it",
            AlertDescription::UnsupportedCertificate => "it is not for a client",
            _ => "has the right authority signed it, is it for clients, and is it still valid?",
        }
    }

    /// What rustls says, where it is behind an error of somebody else.
    fn reason<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
        let mut behind = Some(error);
        while let Some(error) = behind {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            // One of the system's has another's as a part, and not as its source.
            let of_io = error.downcast_ref::<std::io::Error>();
            let part = of_io.and_then(|error| error.get_ref());
            behind = match part {
                Some(part) => Some(part),
                None => error.source(),
            };
        }
        None
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
