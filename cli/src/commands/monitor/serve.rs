//! A small HTTP server: `/metrics`, `/healthz`. One answer a connection, requests of a bounded size and time.

use super::SharedMonitorState;
use jiff::Timestamp;
use std::{collections::VecDeque, future::Future, sync::PoisonError, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};

/// The longest request that is read.
const MAX_REQUEST_BYTES: usize = 8 * 1024;
/// A request has to come within this: its head is one packet.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer has to be taken within this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once. Whoever comes then is served, and the oldest connection is closed: clients that only hold theirs
/// keep nobody else out.
const MAX_CONNECTIONS: usize = 256;

/// Serves until `stop`, and lets what was begun come to its end.
pub(super) async fn serve_until(
    stop: impl Future<Output = ()>,
    listener: TcpListener,
    board: SharedMonitorState,
    clock: fn() -> Timestamp,
) {
    let mut answering = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = answering.join_next(), if !answering.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    oldest_first.retain(|connection| !connection.is_finished());
                    if oldest_first.len() >= MAX_CONNECTIONS
                        && let Some(oldest) = oldest_first.pop_front()
                    {
                        oldest.abort();
                    }
                    oldest_first.push_back(answering.spawn(handle_connection(stream, board.clone(), clock)));
                }
                // Out of file descriptors: it passes.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
    drop(listener);
    let _ = timeout(ANSWER_TIMEOUT, async { while answering.join_next().await.is_some() {} }).await;
}

/// Answers one request. When the client disconnects or is too slow, the response is dropped.
async fn handle_connection(
    mut stream: TcpStream,
    board: SharedMonitorState,
    clock: fn() -> Timestamp,
) {
    let Ok(Some(request)) = timeout(HEADER_TIMEOUT, read_request(&mut stream)).await else {
        return;
    };
    let _ = timeout(ANSWER_TIMEOUT, send_response(&mut stream, &request, &board, clock)).await;
}

async fn send_response(
    stream: &mut TcpStream,
    request: &Result<(String, String), ()>,
    board: &SharedMonitorState,
    clock: fn() -> Timestamp,
) {
    let (status, body) = match request {
        Err(()) => ("400 Bad Request", "not a request\n".to_owned()),
        Ok((method, _)) if method != "GET" && method != "HEAD" => {
            ("405 Method Not Allowed", "only GET and HEAD\n".to_owned())
        }
        Ok((_, path)) => route_path(path, board, clock()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let wants_body = !matches!(request, Ok((method, _)) if method == "HEAD");
    let sent = stream.write_all(head.as_bytes()).await;
    if sent.is_ok() && wants_body {
        let _ = stream.write_all(body.as_bytes()).await;
    }
    let _ = stream.shutdown().await;
}

/// What stands at a path.
fn route_path(path: &str, board: &SharedMonitorState, now: Timestamp) -> (&'static str, String) {
    let board = board.lock().unwrap_or_else(PoisonError::into_inner);
    match path.split('?').next().unwrap_or_default() {
        "/metrics" => ("200 OK", board.to_prometheus(now)),
        "/healthz" => match board.unhealthy_reason(now) {
            None => ("200 OK", "ok\n".into()),
            Some(why) => ("503 Service Unavailable", format!("{why}\n")),
        },
        "/" => ("200 OK", "holdfast monitor: /metrics, /healthz\n".into()),
        _ => ("404 Not Found", "there are /metrics and /healthz\n".into()),
    }
}

/// Method and path of the request; none when the connection ended before it was whole.
async fn read_request(stream: &mut TcpStream) -> Option<Result<(String, String), ()>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(_)) => {
                let text = |t: Option<&str>| t.unwrap_or_default().to_owned();
                return Some(Ok((text(request.method), text(request.path))));
            }
            Ok(httparse::Status::Partial) if bytes.len() < MAX_REQUEST_BYTES => {}
            Ok(httparse::Status::Partial) | Err(_) => return Some(Err(())),
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::MonitorState, *};
    use jiff::SignedDuration;
    use std::sync::{Arc, Mutex};
    use tokio::sync::oneshot;

    fn noon() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().expect("a time")
    }

    async fn asked(request: &[u8]) -> String {
        asked_behind(0, request).await
    }

    /// The answer to a request that comes when so many connections are held open without one.
    async fn asked_behind(idle: usize, request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let board = MonitorState::new("acme".into(), SignedDuration::from_hours(1), None);
        let (stop, stopped) = oneshot::channel::<()>();
        let served =
            serve_until(async { drop(stopped.await) }, listener, Arc::new(Mutex::new(board)), noon);
        let asking = async {
            let mut held = Vec::new();
            for _ in 0..idle {
                let mut stream = TcpStream::connect(address).await.expect("a connection");
                stream.write_all(b"GET /metrics").await.expect("sent");
                held.push(stream);
            }
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(request).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            stop.send(()).expect("it serves");
            answer
        };
        tokio::join!(served, asking).1
    }

    #[tokio::test]
    async fn each_path_and_method_has_its_answer() {
        for (request, status, body) in [
            ("GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n", "200", "holdfast_health"),
            ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200", "holdfast_health"),
            ("GET /healthz HTTP/1.1\r\n\r\n", "503", "nothing was looked at yet"),
            ("GET / HTTP/1.1\r\n\r\n", "200", "/metrics"),
            ("GET /etc/passwd HTTP/1.1\r\n\r\n", "404", "there are"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405", "only GET"),
            ("\x16\x03\x01 tls\r\n\r\n", "400", "not a request"),
        ] {
            let answer = asked(request.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
            assert!(answer.contains(body), "{request}: {answer}");
        }
        let head = asked(b"HEAD /metrics HTTP/1.1\r\n\r\n").await;
        assert!(head.ends_with("\r\n\r\n") && !head.contains("holdfast_health"), "{head}");
    }

    #[tokio::test]
    async fn a_request_without_an_end_is_cut_off_and_nothing_waits_for_it() {
        let endless =
            [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; MAX_REQUEST_BYTES]].concat();
        assert!(asked(&endless).await.starts_with("HTTP/1.1 400 "));
    }

    #[tokio::test]
    async fn clients_that_hold_their_connections_delay_no_scrape() {
        let scrape = asked_behind(2 * MAX_CONNECTIONS, b"GET /metrics HTTP/1.1\r\n\r\n");
        // Far below the time after which the others are closed.
        let answer = timeout(HEADER_TIMEOUT / 2, scrape).await.expect("at once");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}
