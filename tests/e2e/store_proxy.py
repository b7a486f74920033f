"""A small HTTP proxy between the command and a store, in which requests can be seen, refused or cut off."""

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from serving import Server, serving

REFUSAL = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>as the test wants it</Message></Error>"
OF_A_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Request:
    """A request on its way to the store."""

    method: str
    path: str
    query: dict[str, list[str]]
    size: int

    @property
    def part(self) -> int:
        """The number of the part of a multipart upload, or of an Azure block (1, whichever it is); 0 is none."""
        return int(self.query.get("partNumber", [0])[0]) or int(self.query.get("comp") == ["block"])


Hook = Callable[[Request], int | str | None]


@dataclass
class StoreProxy:
    """What happens on the way: `before` answers with a status to refuse by, "drop" to cut the connection off, or None;
    `after` may change what the store answered."""

    target: str
    url: str = ""
    before: Hook = lambda request: None
    after: Callable[[Request, bytes], bytes] = lambda request, body: body
    seen: list[Request] = field(default_factory=list)


class Impatient(Server):
    """Does not wait for connections that a client keeps open."""

    daemon_threads = True
    block_on_close = False


@contextmanager
def store_proxy(target: str) -> Iterator[StoreProxy]:
    """A proxy in front of a store, for as long as the block."""
    state = StoreProxy(target)
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urlsplit(self.path)
            request = Request(self.command, unquote(url.path), parse_qs(url.query, keep_blank_values=True), len(body))
            state.seen.append(request)
            said = state.before(request)
            if said == "drop":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if said:
                code = {403: "AccessDenied", 404: "NoSuchBucket"}.get(said, "InternalError")
                self.answer(said, {"Content-Type": "application/xml"}, REFUSAL.format(code=code).encode())
                return
            onward = http.client.HTTPConnection(host, timeout=60)
            try:
                onward.request(self.command, self.path, body, dict(self.headers))
                answer = onward.getresponse()
                self.answer(answer.status, dict(answer.getheaders()), state.after(request, answer.read()))
            finally:
                onward.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            given = {name.lower(): value for name, value in headers.items()}
            size = given.get("content-length") if self.command == "HEAD" else str(len(body))
            for name, value in headers.items():
                if name.lower() not in OF_A_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", size or "0")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler, Impatient) as state.url:
        yield state
