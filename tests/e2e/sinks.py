"""What messages are sent to: a web server and a mail server on this host, which record what they are told and answer as the
test wants."""

import asyncio
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from jsonschema import Draft202012Validator, FormatChecker

ROOT = Path(__file__).resolve().parents[2]

# -- what the services take -----------------------------------------------------------------------------------------------


def text_of(longest: int, *kinds: str) -> dict:
    """A text object of Slack's Block Kit."""
    return {"type": "object", "required": ["type", "text"], "additionalProperties": False, "properties": {
        "type": {"enum": list(kinds)}, "text": {"type": "string", "minLength": 1, "maxLength": longest},
        "emoji": {"type": "boolean"}, "verbatim": {"type": "boolean"}}}


# https://docs.slack.dev/reference/block-kit/blocks: what Holdfast uses of it, with its limits.
SLACK = {
    "type": "object", "required": ["text", "blocks"], "additionalProperties": False, "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 40000},
        "blocks": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"oneOf": [
            {"type": "object", "required": ["type", "text"], "additionalProperties": False,
             "properties": {"type": {"const": "header"}, "text": text_of(150, "plain_text")}},
            {"type": "object", "required": ["type"], "anyOf": [{"required": ["text"]}, {"required": ["fields"]}],
             "additionalProperties": False,
             "properties": {"type": {"const": "section"}, "text": text_of(3000, "plain_text", "mrkdwn"),
                            "fields": {"type": "array", "minItems": 1, "maxItems": 10,
                                       "items": text_of(2000, "plain_text", "mrkdwn")}}},
            {"type": "object", "required": ["type", "elements"], "additionalProperties": False,
             "properties": {"type": {"const": "context"},
                            "elements": {"type": "array", "minItems": 1, "maxItems": 10,
                                         "items": text_of(2000, "plain_text", "mrkdwn")}}},
        ]}}}}

# https://github.com/PagerDuty/api-schema, reference/events-v2; the lengths are those of its documentation.
PAYLOAD = {
    "summary": {"type": "string", "minLength": 1, "maxLength": 1024}, "source": {"type": "string", "minLength": 1},
    "severity": {"enum": ["critical", "warning", "error", "info"]}, "timestamp": {"type": "string", "format": "date-time"},
    "component": {"type": "string"}, "group": {"type": "string"}, "class": {"type": "string"},
    "custom_details": {"type": "object"}}
ROUTING_KEY = {"type": "string", "minLength": 32, "maxLength": 32}
PAGERDUTY = {
    "type": "object", "required": ["routing_key", "event_action"], "additionalProperties": False, "properties": {
        "routing_key": ROUTING_KEY, "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": {"type": "string", "minLength": 1, "maxLength": 255}, "client": {"type": "string"},
        "payload": {"type": "object", "required": ["summary", "severity", "source"], "additionalProperties": False,
                    "properties": PAYLOAD}},
    "if": {"properties": {"event_action": {"const": "trigger"}}},
    "then": {"required": ["payload"]}, "else": {"required": ["dedup_key"]}}
PAGERDUTY_CHANGE = {
    "type": "object", "required": ["routing_key", "payload"], "additionalProperties": False, "properties": {
        "routing_key": ROUTING_KEY,
        "payload": {"type": "object", "required": ["summary"], "additionalProperties": False, "properties": {
            name: PAYLOAD[name] for name in ("summary", "source", "timestamp", "custom_details")}}}}


def exactly(**properties: dict) -> dict:
    """An object with these properties and no others."""
    return {"type": "object", "required": list(properties), "additionalProperties": False, "properties": properties}


# The bodies of IndoStar's own scripts.
STATUS = {"enum": ["success", "failed", "test"]}
BACKUP = exactly(status=STATUS, backup_file={"type": "string"}, size={"type": "string", "pattern": r"^\d+(\.\d)?[KMGTP]?$"})
VERIFICATION = exactly(status=STATUS, backup_file={"type": "string"}, record_count={"type": "integer", "minimum": 0})
ALERT = exactly(severity={"enum": ["info", "warning", "critical"]}, message={"type": "string", "minLength": 1})
FULL = json.loads((ROOT / "docs" / "message.schema.json").read_text())

# -- a web server ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """A request that was made."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        assert self.headers["content-type"].startswith("application/json"), self.headers
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """How a request is answered: with a status, by no answer at all, or by a connection that breaks."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    hang: bool = False
    drop: bool = False


@dataclass
class WebSink:
    """A web server. Its answers are given in order, then 200; what does not fit its schemas, by path, is answered with 400."""

    url: str = ""
    schemas: dict[str, dict] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    status: int = 200
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, told: Told) -> Reply:
        """Records a request, judges it and says how it is answered."""
        with self.lock:
            self.told.append(told)
            if schema := self.schemas.get(told.path):
                validator = Draft202012Validator(schema, format_checker=FormatChecker())
                faults = [f"{told.path}: {error.message[:500]}" for error in validator.iter_errors(told.json)]
                self.faults += faults
                if faults:
                    return Reply(400, body="invalid_blocks")
            return self.replies.pop(0) if self.replies else Reply(self.status)


@contextmanager
def web_sink(**schemas: dict) -> Iterator[WebSink]:
    """A web server for as long as the block; what it was told must fit `schemas`, by the path's last word."""
    sink = WebSink(schemas={f"/{name}": schema for name, schema in schemas.items()})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = sink.answer(Told(self.command, self.path, headers, body))
            if reply.hang:
                sink.ended.wait(60)
            if reply.hang or reply.drop:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body.encode())))
            self.end_headers()
            self.wfile.write(reply.body.encode())

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sink
    finally:
        sink.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


# -- a mail server ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mail:
    """A mail that was taken."""

    sender: str
    to: list[str]
    login: str | None
    encrypted: bool
    bytes: bytes

    @property
    def message(self) -> EmailMessage:
        """The mail, read by Python's own parser."""
        return message_from_bytes(self.bytes, policy=policy.default)

    def part(self, kind: str) -> str:
        """The text of its plain or HTML part."""
        return self.message.get_body((kind,)).get_content()


@dataclass
class MailSink:
    """A mail server. `refused` are answers to addresses, as `550 no such user`."""

    port: int = 0
    wrapped: bool = False
    mails: list[Mail] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    async def handle_RCPT(self, _server, _session, envelope, address, _options) -> str:
        """Takes or refuses an address."""
        self.seen.append(address)
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, session, envelope) -> str:
        """Takes a mail."""
        login = session.auth_data.login.decode() if session.auth_data else None
        encrypted = self.wrapped or session.ssl is not None
        self.mails.append(Mail(envelope.mail_from, list(envelope.rcpt_tos), login, encrypted, envelope.content))
        return "250 OK"


def certificate(folder: Path, host: str = "localhost") -> tuple[Path, Path, Path]:
    """An authority made for the test, and a certificate of `host` that it signed: authority, certificate, key."""
    authority, authority_key = folder / "authority.pem", folder / "authority.key"
    cert, key, wanted, extensions = (folder / name for name in ("server.pem", "server.key", "server.csr", "server.ext"))
    extensions.write_text(f"subjectAltName=DNS:{host},IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for arguments in (
        ["req", "-x509", *new_key, "-keyout", authority_key, "-out", authority, "-days", "2", "-subj", "/CN=test authority"],
        ["req", *new_key, "-keyout", key, "-out", wanted, "-subj", f"/CN={host}"],
        ["x509", "-req", "-in", wanted, "-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-out", cert,
         "-days", "2", "-extfile", extensions],
    ):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    return authority, cert, key


@contextmanager
def mail_sink(cert: Path | None = None, key: Path | None = None, login: tuple[str, str] | None = None,
              wrapped: bool = False) -> Iterator[MailSink]:
    """A mail server for as long as the block: with STARTTLS or, `wrapped`, TLS from the first byte when it has a
    certificate; with a login when it is given one."""
    sink = MailSink(wrapped=wrapped)
    context = None
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)

    def authenticate(_server, _session, _envelope, _mechanism, data: LoginPassword) -> AuthResult:
        right = login == (data.login.decode(), data.password.decode())
        return AuthResult(success=right, handled=False, auth_data=data if right else None)

    options = {"authenticator": authenticate, "auth_required": True,
               "auth_require_tls": context is not None and not wrapped} if login else {}
    if context and not wrapped:
        options |= {"tls_context": context, "require_starttls": True}
    # On a loop of its own: aiosmtpd's Controller can't take a port that is free.
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(
        lambda: SMTP(sink, hostname="localhost", loop=loop, **options), "127.0.0.1", 0, ssl=context if wrapped else None))
    sink.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield sink
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
