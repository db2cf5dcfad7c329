//! A request out of flags that look like curl's.

use std::io::Read;

/// What is asked.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Request {
    /// Method [default: GET, or POST with a body]
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// Data of a form, `a=1` or `@FILE`; several are joined with &
    #[arg(short = 'd', long, value_name = "DATA", conflicts_with = "form")]
    data: Vec<String>,
    /// A part of a multipart form: `name=value` or `name=@FILE`
    #[arg(short = 'F', long, value_name = "NAME=VALUE")]
    form: Vec<String>,
    /// A header field
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// PATH_INFO: what stands behind the script's name
    #[arg(long, value_name = "PATH")]
    path_info: Option<String>,
    /// QUERY_STRING
    #[arg(long, value_name = "QUERY")]
    query: Option<String>,
}

/// What may stand in a request target as it is; the rest is encoded.
const KEPT: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'#');

impl Request {
    /// A GET with these fields.
    pub fn get(headers: Vec<String>) -> Self {
        Self { headers, ..Self::default() }
    }

    /// Whether the answer has no body.
    pub fn is_head(&self) -> bool {
        self.method.as_deref() == Some("HEAD")
    }

    /// The octets on the wire.
    ///
    /// # Errors
    /// A file that cannot be read, a field that is none.
    pub fn bytes(&self, url: &str, host: &str) -> Result<Vec<u8>, String> {
        let body = self.body()?;
        let method = self.method.clone().unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            return Err(format!("\"{}\" is not a method", method.escape_debug()));
        }
        let (path, own_query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let mut target = path.to_owned();
        if let Some(info) = &self.path_info {
            target.push_str(if info.starts_with('/') { "" } else { "/" });
            target.push_str(&info.replace('?', "%3F"));
        }
        if let Some(query) = self.query.as_deref().or(own_query) {
            target.push('?');
            target.push_str(query);
        }
        let target = percent_encoding::utf8_percent_encode(&target, KEPT).to_string();
        let mut fields = Vec::new();
        for field in &self.headers {
            let named = field.split_once(':').filter(|(name, _)| {
                http::HeaderName::from_bytes(name.trim().as_bytes()).is_ok() && !field.contains(['\r', '\n', '\0'])
            });
            let (name, value) = named.ok_or_else(|| format!("\"{}\" is not \"Name: value\"", field.escape_debug()))?;
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let has = |name: &str| fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !has("host") {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in [("User-Agent", "cgiserve-run"), ("Accept", "*/*")] {
            if !has(name) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        if let Some((kind, body)) = &body {
            if !has("content-type") {
                head.push_str(&format!("Content-Type: {kind}\r\n"));
            }
            if !has("content-length") {
                head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
        }
        for (name, value) in fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection")) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("Connection: close\r\n\r\n");
        Ok([head.into_bytes(), body.map(|(_, body)| body).unwrap_or_default()].concat())
    }

    fn body(&self) -> Result<Option<(String, Vec<u8>)>, String> {
        if !self.form.is_empty() {
            return self.multipart().map(Some);
        }
        if self.data.is_empty() {
            return Ok(None);
        }
        let mut body = Vec::new();
        for (n, piece) in self.data.iter().enumerate() {
            if n > 0 {
                body.push(b'&');
            }
            match piece.strip_prefix('@') {
                Some(file) => body.extend(read(file)?),
                None => body.extend_from_slice(piece.as_bytes()),
            }
        }
        Ok(Some(("application/x-www-form-urlencoded".to_owned(), body)))
    }

    /// RFC 7578. The boundary is fixed, and lengthened until no part holds it.
    fn multipart(&self) -> Result<(String, Vec<u8>), String> {
        let mut parts = Vec::new();
        for piece in &self.form {
            let (name, value) = piece.split_once('=').ok_or_else(|| format!("\"{piece}\" is not NAME=VALUE"))?;
            let quoted = |text: &str| text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
            let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
            let content = match value.strip_prefix('@') {
                None => value.as_bytes().to_vec(),
                Some(file) => {
                    let base = file.rsplit('/').next().unwrap_or(file);
                    let kind = mime_guess::from_path(base).first_or_octet_stream();
                    head.push_str(&format!("; filename=\"{}\"\r\nContent-Type: {kind}", quoted(base)));
                    read(file)?
                }
            };
            parts.push((head, content));
        }
        let mut boundary = "cgiserve-run-boundary".to_owned();
        while parts.iter().any(|(_, content)| content.windows(boundary.len()).any(|w| w == boundary.as_bytes())) {
            boundary.push('x');
        }
        let mut body = Vec::new();
        for (head, content) in parts {
            body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
            body.extend(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Ok((format!("multipart/form-data; boundary={boundary}"), body))
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    let read = if file == "-" {
        let mut body = Vec::new();
        std::io::stdin().lock().read_to_end(&mut body).map(|_| body)
    } else {
        std::fs::read(file)
    };
    read.map_err(|error| format!("{file}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(request: &Request) -> String {
        String::from_utf8(request.bytes("/cgi-bin/x", "h:1").unwrap()).unwrap()
    }

    #[test]
    fn flags_become_a_request() {
        assert!(wire(&Request::default()).starts_with("GET /cgi-bin/x HTTP/1.1\r\nHost: h:1\r\n"));
        let text = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let post = Request { data: text(&["a=1", "b=2"]), ..Request::default() };
        assert!(
            wire(&post).starts_with("POST ")
                && wire(&post).ends_with("Content-Length: 7\r\nConnection: close\r\n\r\na=1&b=2")
        );
        let path = Request { path_info: Some("/a b".into()), query: Some("q=1 2".into()), ..Request::default() };
        assert!(wire(&path).starts_with("GET /cgi-bin/x/a%20b?q=1%202 HTTP/1.1\r\n"));
        let form = Request { form: text(&["f=v"]), ..Request::default() };
        assert!(wire(&form).contains("name=\"f\"\r\n\r\nv\r\n--cgiserve-run-boundary--\r\n"));
        let fields = Request::get(text(&["Host: other", "X-A:b"]));
        assert!(wire(&fields).contains("\r\nHost: other\r\nX-A: b\r\n") && !wire(&fields).contains("h:1"));
        for bad in ["no colon", "A: b\r\nC: d", ": x"] {
            assert!(Request::get(text(&[bad])).bytes("/", "h").is_err(), "{bad:?}");
        }
        assert!(Request { method: Some("GET / HTTP".into()), ..Request::default() }.bytes("/", "h").is_err());
    }
}
