//! A small HTTP/1.1 client on any stream: enough to ask one thing and read the answer, strict enough to see what was sent.

use std::io::{self, BufRead, BufReader, Read, Write};

/// No answer of a test is larger.
const BODY_MAX_BYTES: usize = 256 << 20;

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// A connection on which requests follow each other.
pub struct Connection<S> {
    stream: BufReader<S>,
    host: String,
}

/// What comes after an answer's head.
enum Rest {
    Nothing,
    Bytes(usize),
    Chunks,
    UntilEnd,
}

impl<S: Read + Write> Connection<S> {
    pub fn new(stream: S, host: &str) -> Self {
        Self { stream: BufReader::with_capacity(64 << 10, stream), host: host.to_owned() }
    }

    /// Asks one thing and reads the whole answer.
    ///
    /// # Errors
    /// If the connection breaks or the answer is not HTTP.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        self.send(method, path, headers, body)?;
        let (status, headers) = self.head()?;
        let mut response = Response { status, headers, body: Vec::new() };
        match rest(method, &response) {
            Rest::Nothing => {}
            Rest::Bytes(length) => {
                response.body = vec![0; length];
                self.stream.read_exact(&mut response.body)?;
            }
            Rest::Chunks => while self.chunk(&mut response.body)? {},
            Rest::UntilEnd => {
                self.stream.read_to_end(&mut response.body)?;
            }
        }
        Ok(response)
    }

    /// Sends a request and reads the head of its answer; what follows comes by [`Connection::chunk`].
    ///
    /// # Errors
    /// As for [`Connection::ask`].
    pub fn open(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<u16> {
        self.send(method, path, headers, b"")?;
        Ok(self.head()?.0)
    }

    /// Appends the next chunk; false at the end.
    ///
    /// # Errors
    /// If the connection breaks or what comes is no chunk.
    pub fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let line = self.line()?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).map_err(|_| broken(&line))?;
        let start = body.len();
        if start + length > BODY_MAX_BYTES {
            return Err(io::Error::other("the answer is too long"));
        }
        body.resize(start + length, 0);
        self.stream.read_exact(&mut body[start..])?;
        let end = self.line()?;
        if !end.is_empty() {
            return Err(broken(&end));
        }
        Ok(length > 0)
    }

    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let stream = self.stream.get_mut();
        // In one piece where it is small: two packets would wait for each other.
        let mut all = head.into_bytes();
        if body.len() < 64 << 10 {
            all.extend_from_slice(body);
            stream.write_all(&all)?;
        } else {
            stream.write_all(&all)?;
            // A server that has heard enough answers and closes before it has read all.
            let _ = stream.write_all(body);
        }
        let _ = stream.flush();
        Ok(())
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.").and_then(|l| l.get(2..5)).and_then(|s| s.parse().ok()).ok_or_else(|| broken(&line))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| broken(&line))?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn rest(method: &str, response: &Response) -> Rest {
    if method == "HEAD" || matches!(response.status, 204 | 304) {
        return Rest::Nothing;
    }
    if response.header("transfer-encoding").is_some_and(|t| t.eq_ignore_ascii_case("chunked")) {
        return Rest::Chunks;
    }
    match response.header("content-length").and_then(|l| l.parse().ok()) {
        Some(length) if length <= BODY_MAX_BYTES => Rest::Bytes(length),
        _ => Rest::UntilEnd,
    }
}

fn broken(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is not HTTP: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Canned(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Canned {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Canned {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.1.write(data)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn connection(answer: &str) -> Connection<Canned> {
        Connection::new(Canned(io::Cursor::new(answer.as_bytes().to_vec()), Vec::new()), "there")
    }

    #[test]
    fn answers_follow_each_other_on_one_connection() {
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n";
        let mut connection = connection(two);
        let first = connection.ask("GET", "/", &[("a", "b")], b"").unwrap();
        assert_eq!((first.status, first.text().as_str()), (200, "hi"));
        let second = connection.ask("POST", "/x", &[], b"{}").unwrap();
        assert_eq!((second.status, second.text().as_str()), (404, "abcd"));
        let sent = String::from_utf8(connection.stream.get_ref().1.clone()).unwrap();
        assert_eq!(sent, "GET / HTTP/1.1\r\nhost: there\r\na: b\r\n\r\nPOST /x HTTP/1.1\r\nhost: there\r\ncontent-length: 2\r\n\r\n{}");
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        for answer in ["", "SSH-2.0", "HTTP/1.1 abc\r\n", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"] {
            assert!(connection(answer).ask("GET", "/", &[], b"").is_err(), "{answer:?}");
        }
    }
}
