//! Certificate and private key out of PEM files.

use std::path::Path;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::encrypted;
use crate::config::Problem;

/// Octets of a certificate or key file; real ones have a few thousand.
const FILE: u64 = 1 << 20;

/// The chain in `cert` with the key in `key`, which may be the same file.
///
/// # Errors
/// What is wrong with which file, and what would be right.
pub(super) fn read(cert: &Path, key: &Path, password_file: Option<&Path>) -> Result<CertifiedKey, Problem> {
    let problem = |file: &Path, name: &str, what: String, hint: &str| Problem {
        place: file.display().to_string(),
        key: format!("tls.{name}"),
        what,
        hint: hint.to_owned(),
    };
    let open = |file: &Path, name: &str| {
        bounded(file).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::PermissionDenied => "the server's user must be able to read it",
                _ => "",
            };
            problem(file, name, format!("cannot be read: {error}"), hint)
        })
    };
    let pem = open(cert, "cert")?;
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| problem(cert, "cert", format!("is not PEM: {error}"), ""))?;
    if chain.is_empty() {
        let hint = "it must hold -----BEGIN CERTIFICATE-----, the server's own first";
        return Err(problem(cert, "cert", "holds no certificate".into(), hint));
    }
    let pem = open(key, "key")?;
    let secret = if encrypted::is_encrypted(&pem) {
        let Some(password_file) = password_file else {
            let hint = "write --tls-password-file FILE, or decrypt it: openssl pkey -in KEY -out PLAIN";
            return Err(problem(key, "key", "is encrypted".into(), hint));
        };
        let password = open(password_file, "password-file")?;
        encrypted::decrypt(&pem, password.trim_ascii_end())
            .map_err(|what| problem(key, "key", what.into(), encrypted::HINT))?
    } else {
        PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                let hint = "name the key's file with --tls-key, or put the key into the certificate's file";
                problem(key, "key", "holds no private key".into(), hint)
            }
            error => problem(key, "key", format!("is not PEM: {error}"), ""),
        })?
    };
    CertifiedKey::from_der(chain, secret, &ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            problem(key, "key", format!("is not the key of {}", cert.display()), "the pair must be made together")
        }
        error => problem(key, "key", format!("cannot be used: {error}"), "RSA, ECDSA (P-256, P-384) and Ed25519 can"),
    })
}

fn bounded(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}
