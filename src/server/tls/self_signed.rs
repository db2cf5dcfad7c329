//! A certificate made on the spot, for trying things out: browsers warn, everything else is as with a real one.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use crate::config::{Listen, Problem};

/// Days that it is good for: the most that browsers accept of any certificate.
const DAYS: i64 = 397;

/// One for localhost, this machine's name, and the addresses that are listened at.
///
/// # Errors
/// The system has no randomness.
pub(super) fn make(listen: &[Listen]) -> Result<CertifiedKey, Problem> {
    let names = names(listen, rustix::system::uname().nodename().to_str().unwrap_or_default());
    certify(names).map_err(|what| Problem {
        place: "command line".into(),
        key: "--tls".into(),
        what: format!("no certificate could be made: {what}"),
        hint: "give one with --tls-cert".into(),
    })
}

fn certify(names: Vec<String>) -> Result<CertifiedKey, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let key = KeyPair::generate().map_err(|e| text(&e))?;
    let mut params = CertificateParams::new(names).map_err(|e| text(&e))?;
    params.distinguished_name.push(DnType::CommonName, "cgiserve, self-signed");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |days: i64| {
        let date = today.saturating_add(jiff::Span::new().days(days));
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    // A day early, for clients whose clock is slow.
    params.not_before = day(-1);
    params.not_after = day(DAYS - 1);
    let certificate = params.self_signed(&key).map_err(|e| text(&e))?;
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::from_der(vec![certificate.der().clone()], secret, &ring::default_provider()).map_err(|e| text(&e))
}

fn names(listen: &[Listen], host: &str) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    for listen in listen {
        if let Listen::Tcp(address) = listen
            && !address.ip().is_unspecified()
        {
            names.push(address.ip().to_canonical().to_string());
        }
    }
    // A host name with characters that a certificate cannot hold would spoil it all.
    if !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
        names.push(host.to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_good_for_every_name_of_the_server() {
        let listen = ["192.0.2.1:80", "127.0.0.1:0", "[::]:1"].map(|a| Listen::Tcp(a.parse().unwrap()));
        assert_eq!(names(&listen, "host"), ["localhost", "127.0.0.1", "::1", "192.0.2.1", "host"]);
        assert_eq!(names(&[Listen::Unix("/x".into())], "wrong_host\n"), ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(make(&listen).unwrap().cert.len(), 1);
    }
}
