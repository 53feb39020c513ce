//! The certificates that a connection accepts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::fault::Fault;
use crate::config::Scheme;

/// Returns the TLS connector that a scheme requires; `None` for an unencrypted scheme.
///
/// The provider is named explicitly, because a process may hold several and rustls refuses to choose.
pub(super) fn connector(scheme: Scheme, ca_file: Option<&Path>) -> Result<Option<TlsConnector>, Fault> {
    let encrypted = !matches!(scheme, Scheme::Bolt | Scheme::Neo4j);
    if !encrypted {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Setup(format!("cannot use TLS: {error}")))?;
    let config = if scheme.verifies_certificate() {
        builder.with_root_certificates(roots(ca_file)?).with_no_client_auth()
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth()
    };
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// Returns the authorities to trust: the configured one, or else the system's.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        // Some of a system's certificates may be unreadable; it is enough to have one.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(no_authority("the system's store")) } else { Ok(roots) };
    };
    let unreadable = |error| Fault::Setup(format!("cannot read neo4j.tls.ca_file {}: {error}", path.display()));
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let added = roots.add(certificate.map_err(unreadable)?);
        added.map_err(|error| Fault::Setup(format!("neo4j.tls.ca_file {} is invalid: {error}", path.display())))?;
    }
    if roots.is_empty() { Err(no_authority("neo4j.tls.ca_file")) } else { Ok(roots) }
}

fn no_authority(place: &str) -> Fault {
    Fault::Setup(format!("{place} contains no certificate authority"))
}

/// Returns why a certificate was refused, if the refusal ended a connection.
pub(in crate::source) fn refused_certificate(error: &io::Error) -> Option<&rustls::Error> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    matches!(cause, rustls::Error::InvalidCertificate(_)).then_some(cause)
}

/// The verifier for `+ssc`: an encrypted connection with any server. The handshake's signatures are still checked, so the server
/// at least holds the key of the certificate that it presents.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_scheme_decides_on_encryption() {
        assert!(matches!(connector(Scheme::Bolt, None), Ok(None)));
        assert!(matches!(connector(Scheme::Neo4j, None), Ok(None)));
        assert!(matches!(connector(Scheme::BoltSelfSigned, None), Ok(Some(_))));
    }

    #[test]
    fn an_authority_that_is_none_is_an_error_of_the_configuration() {
        let missing = connector(Scheme::BoltSecure, Some(Path::new("/no/such/file"))).err();
        assert_eq!(missing.map(|fault| fault.kind()), Some(ErrorKind::Configuration));
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = connector(Scheme::BoltSecure, Some(file.path())).err();
        assert_eq!(empty.map(|fault| fault.to_string()), Some("neo4j.tls.ca_file contains no certificate authority".to_owned()));
    }
}
