//! How a connection is secured.

use std::path::PathBuf;
use std::sync::Arc;

use backstay_core::{Error, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// How a connection over TCP is secured. A Unix socket never has TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// The certificate must be the host's and lead to one of these roots: libpq's `verify-full`. The default.
    VerifyFull(Roots),
    /// Encrypted to whoever answers: libpq's `require`. Who stands in between can read and change everything.
    DangerUnverified,
    /// Not encrypted: libpq's `disable`.
    DangerPlain,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Those that the machine trusts.
    #[default]
    System,
    /// Those in this PEM file.
    File(PathBuf),
}

impl Default for Tls {
    fn default() -> Self {
        Self::VerifyFull(Roots::System)
    }
}

impl Roots {
    pub(super) fn named(value: &str) -> Self {
        if value == "system" { Self::System } else { Self::File(value.into()) }
    }

    fn load(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
            }
            Self::File(path) => {
                let bad = |error: rustls::pki_types::pem::Error| {
                    Error::new(ErrorKind::Invalid, "the root certificates cannot be read")
                        .with("file", path.display())
                        .because(error)
                };
                for certificate in CertificateDer::pem_file_iter(path).map_err(bad)? {
                    let certificate = certificate.map_err(bad)?;
                    roots.add(certificate).map_err(|error| {
                        Error::new(ErrorKind::Invalid, "a root certificate is none")
                            .with("file", path.display())
                            .because(error)
                    })?;
                }
            }
        }
        if roots.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "no root certificate was found")
                .advise("name a file with the server's authority by `Tls::VerifyFull(Roots::File(..))`"));
        }
        Ok(roots)
    }
}

impl Tls {
    pub(super) fn of_mode(mode: &str, roots: Roots) -> Result<Self> {
        match mode {
            "verify-full" => Ok(Self::VerifyFull(roots)),
            "require" => Ok(Self::DangerUnverified),
            "disable" => Ok(Self::DangerPlain),
            _ => Err(Error::new(ErrorKind::Invalid, "this sslmode says too little")
                .with("sslmode", mode)
                .advise("say verify-full; or what is meant: require encrypts to whoever answers, disable does not")),
        }
    }

    pub(super) fn roots(&self) -> Roots {
        match self {
            Self::VerifyFull(roots) => roots.clone(),
            _ => Roots::System,
        }
    }

    pub(super) fn with_roots(&self, roots: Roots) -> Self {
        match self {
            Self::VerifyFull(_) => Self::VerifyFull(roots),
            other => other.clone(),
        }
    }

    /// What our own connections use; none without TLS.
    pub(super) fn config(&self) -> Result<Option<ClientConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| Error::new(ErrorKind::Other, "TLS cannot be set up").because(error))
        };
        match self {
            Self::DangerPlain => Ok(None),
            Self::VerifyFull(roots) => Ok(Some(builder()?.with_root_certificates(roots.load()?).with_no_client_auth())),
            Self::DangerUnverified => {
                let verifier = Arc::new(Unverified(Arc::clone(&provider)));
                Ok(Some(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
            }
        }
    }
}

/// Takes every certificate, but not a broken handshake.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
