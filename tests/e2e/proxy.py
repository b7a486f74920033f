"""A small HTTP proxy between the command and RDS, in which calls can be counted, refused, rewritten or cut."""

import http.client
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from serving import serving

PASSED_ON = {"content-type", "authorization", "x-amz-date", "x-amz-security-token", "x-amz-target", "user-agent"}


@dataclass(frozen=True)
class Reply:
    """An answer to a call."""

    status: int
    body: bytes

    @classmethod
    def refusal(cls, status: int, code: str, message: str = "as the test wants it") -> "Reply":
        """An error as RDS words it."""
        kind = "Sender" if status < 500 else "Receiver"
        return cls(status, (
            f'<ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><Error><Type>{kind}</Type><Code>{code}</Code>'
            f"<Message>{message}</Message></Error><RequestId>test</RequestId></ErrorResponse>").encode())


Call = dict[str, str]


@dataclass
class Proxy:
    """What happens on the way. Each hook is asked for every call; None lets it pass as it is."""

    target: str
    url: str = ""
    before: Callable[[int, Call], Reply | None] = lambda number, call: None
    after: Callable[[int, Call, Reply], Reply | None] = lambda number, call, reply: None
    calls: list[Call] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, call: Call, headers: dict[str, str], body: bytes) -> Reply:
        """Serves one call, which is the `number`th from 0."""
        with self.lock:
            number = len(self.calls)
            self.calls.append(call)
        if refused := self.before(number, call):
            return refused
        target = http.client.HTTPConnection(urlsplit(self.target).netloc, timeout=60)
        try:
            target.request("POST", "/", body, headers)
            answer = target.getresponse()
            reply = Reply(answer.status, answer.read())
        finally:
            target.close()
        return self.after(number, call, reply) or reply


@contextmanager
def proxy(target: str):
    """A proxy in front of RDS, for as long as the block."""
    state = Proxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            call = {key: values[0] for key, values in parse_qs(body.decode()).items()}
            # Credential=KEY/DATE/REGION/rds/aws4_request: the region that the call was signed for.
            scope = self.headers.get("Authorization", "").partition("Credential=")[2].split("/")
            call["region"] = scope[2] if len(scope) > 2 else ""
            headers = {key: value for key, value in self.headers.items() if key.lower() in PASSED_ON}
            reply = state.serve(call, headers, body)
            try:
                self.send_response(reply.status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                self.close_connection = True  # whoever asked is gone

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as state.url:
        yield state
