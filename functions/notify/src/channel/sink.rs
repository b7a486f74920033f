//! A web server for tests: answers as it is told, and gives back what it was asked.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

/// A server on this host, which answers one connection after the other and then is gone.
pub(super) struct MockHttpServer {
    /// Its address, without a path.
    pub(super) url: String,
    pub(super) requests: JoinHandle<Vec<String>>,
}

impl MockHttpServer {
    /// A server with these answers, whole HTTP as text; an empty one drops the connection.
    pub(super) async fn with_responses(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !is_complete_request(&request) {
                    let read = stream.read(&mut buffer).await.expect("a request");
                    assert!(read > 0, "the request ends early");
                    request.extend_from_slice(&buffer[..read]);
                }
                asked.push(String::from_utf8(request).expect("text"));
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            asked
        });
        Self { url, requests: asked }
    }

    /// What it was asked, when all its answers are given.
    pub(super) async fn into_requests(self) -> Vec<String> {
        self.requests.await.expect("the server")
    }
}

/// Whether a request has all of its body.
fn is_complete_request(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|l| {
        let (name, value) = l.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())?.ok()
    });
    body.len() >= length.unwrap_or(0)
}

/// An answer with headers and a body.
pub(super) fn http_response(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
