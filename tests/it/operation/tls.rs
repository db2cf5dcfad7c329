//! HTTPS: who sees what, and how certificates come and go.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};

use crate::server::{command, serve_with};
use crate::tree::Tree;
use crate::vars::ENVIRONMENT;
use crate::wait::PATIENCE;

type Client = StreamOwned<ClientConnection, TcpStream>;

/// Believes everybody; the tests look at the certificate themselves.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A connection whose handshake is over; `trusted` is checked in earnest, for the name 127.0.0.1.
#[track_caller]
fn connect(address: SocketAddr, alpn: &[&str], trusted: Option<CertificateDer<'static>>) -> Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = match trusted {
        None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Gullible)).with_no_client_auth(),
        Some(certificate) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate).unwrap();
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = StreamOwned::new(session, socket);
    client.flush().unwrap();
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock).unwrap();
    }
    client
}

fn certificate_of(client: &Client) -> CertificateDer<'static> {
    client.conn.peer_certificates().unwrap()[0].clone().into_owned()
}

/// One GET on a connection that stays.
#[track_caller]
fn get(client: &mut Client, target: &str) -> String {
    write!(client, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut text = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = client.read(&mut piece).expect("an answer");
        assert!(n > 0, "the connection ended: {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..n]);
        let all = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = all.split_once("\r\n\r\n") else { continue };
        let whole = match head.lines().find_map(|line| line.strip_prefix("Content-Length: ")) {
            Some(length) => body.len() == length.parse::<usize>().unwrap(),
            None => body.ends_with("0\r\n\r\n"),
        };
        if whole {
            return all;
        }
    }
}

/// A certificate for 127.0.0.1 and its key, PEM.
fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn der(pem: &str) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn a_certificate_is_made_on_the_spot_and_scripts_know_of_it() {
    let server = serve_with(Tree::new().script("env", ENVIRONMENT), &["-b", "127.0.0.1", "--tls"]);
    let port = server.address.port();
    assert_eq!(server.banner, format!("Serving HTTPS on 127.0.0.1 port {port} (https://127.0.0.1:{port}/) ..."));
    let made = certificate_of(&connect(server.address, &[], None));
    let mut client = connect(server.address, &["http/1.1"], Some(made));
    let answer = get(&mut client, "/cgi-bin/env");
    for variable in ["HTTPS=on\0", "REQUEST_SCHEME=https\0", "SERVER_PROTOCOL=HTTP/1.1\0"] {
        assert!(answer.contains(variable), "{variable}: {answer}");
    }
}

#[test]
fn http2_is_chosen_where_the_client_can() {
    let server = serve_with(Tree::new(), &["-b", "127.0.0.1", "--tls"]);
    for (offered, chosen) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        let client = connect(server.address, offered, None);
        assert_eq!(client.conn.alpn_protocol().map(|p| std::str::from_utf8(p).unwrap()), chosen, "{offered:?}");
    }
    let mut client = connect(server.address, &["h2"], None);
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    client.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "the server's first frame is SETTINGS");
}

#[test]
fn slow_handshake_delays_nobody() {
    let server = serve_with(Tree::new().file("htdocs/a", "a"), &["-b", "127.0.0.1", "--tls"]);
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let mut half = TcpStream::connect(server.address).unwrap();
    half.write_all(b"\x16\x03\x01\x02\x00").unwrap();
    assert!(get(&mut connect(server.address, &[], None), "/a").starts_with("HTTP/1.1 200"));
    drop((silent, half));
}

#[test]
fn a_client_that_says_nothing_does_not_keep_the_server() {
    let mut server = serve_with(Tree::new().file("htdocs/a", "a"), &["-b", "127.0.0.1", "--tls"]);
    let _silent = TcpStream::connect(server.address).unwrap();
    let mut client = connect(server.address, &[], None);
    get(&mut client, "/a");
    let since = std::time::Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.ended().0, Some(0));
    assert!(since.elapsed() < std::time::Duration::from_secs(8), "the handshake has ten seconds, the end has not");
}

#[test]
fn plain_http_at_an_https_port_is_told_so() {
    let server = serve_with(Tree::new(), &["-b", "127.0.0.1", "--tls"]);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.response().expect(400);
    assert!(String::from_utf8_lossy(&answer.body).contains("https://"));
    client.assert_closed();
}

#[test]
fn certificates_are_reloaded_and_no_connection_notices() {
    let (first, second) = (pair(), pair());
    let tree = Tree::new()
        .file("htdocs/a", "a")
        .file("cert.pem", &first.0)
        .file("key.pem", &first.1)
        .config("[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"");
    let server = crate::server::serve(tree);
    let mut old = connect(server.address, &[], Some(der(&first.0)));
    assert!(get(&mut old, "/a").ends_with("\r\n\r\na"));

    server.tree.put("cert.pem", format!("{}{}", second.1, second.0));
    server.tree.put("key.pem", &second.1);
    server.signal(Signal::HUP);
    server.wait_for_log(|line| line.contains("configuration reloaded"));
    let mut new = connect(server.address, &[], Some(der(&second.0)));
    assert!(get(&mut new, "/a").ends_with("\r\n\r\na"));
    assert!(get(&mut old, "/a").ends_with("\r\n\r\na"), "the old connection goes on");

    server.tree.put("key.pem", &first.1);
    server.signal(Signal::HUP);
    let why = server.wait_for_log(|line| line.contains("the certificate is not reloaded"));
    assert!(why.contains("tls.key") && why.contains("is not the key of"), "{why}");
    connect(server.address, &[], Some(der(&second.0)));
    assert!(get(&mut new, "/a").ends_with("\r\n\r\na"));
}

#[test]
fn files_that_are_no_pair_are_a_configuration_error() {
    let (first, second) = (pair(), pair());
    let tree = Tree::new()
        .file("cert.pem", &first.0)
        .file("key.pem", &second.1)
        .file("both.pem", format!("{}{}", first.1, first.0))
        .file("sealed.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    for (cert, key, wanted) in [
        ("nothing.pem", None, "tls.cert: cannot be read"),
        ("key.pem", None, "tls.cert: holds no certificate"),
        ("cert.pem", None, "tls.key: holds no private key"),
        ("cert.pem", Some("key.pem"), "tls.key: is not the key of"),
        ("cert.pem", Some("sealed.pem"), "tls.key: is encrypted"),
    ] {
        let mut command = command(&tree);
        command.arg("--tls-cert").arg(tree.path(cert));
        if let Some(key) = key {
            command.arg("--tls-key").arg(tree.path(key));
        }
        let output = command.arg("0").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(wanted) && !said.contains("PRIVATE KEY-----\n"), "{wanted}: {said}");
        assert!(output.stdout.is_empty(), "it never served");
    }
    let both = tree.path("both.pem").display().to_string();
    let server = serve_with(tree, &["-b", "127.0.0.1", "--tls-cert", &both]);
    connect(server.address, &[], Some(der(&first.0)));
}
