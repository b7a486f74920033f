"""A small HTTP/1.1 server on 127.0.0.1, in a thread of its own: what the stand-ins of both benchmarks listen with."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Request:
    """One request; `reply` sends the answer, now or later, from any thread."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reply: Callable[[bytes], None]


class _Connection(asyncio.Protocol):
    def __init__(self, handler: Callable[[Request], None]):
        self.handler, self.data = handler, b""

    def connection_made(self, transport):
        self.transport = transport
        self.loop = asyncio.get_running_loop()

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            first, *lines = self.data[:end].decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
            size = int(headers.get("content-length", 0))
            if len(self.data) < end + 4 + size:
                return
            body, self.data = self.data[end + 4 : end + 4 + size], self.data[end + 4 + size :]
            method, path, _ = first.split(" ")
            self.handler(Request(method, path, headers, body, self.reply))

    def reply(self, answer: bytes):
        self.loop.call_soon_threadsafe(self.transport.write, answer)


class Server:
    """Serves `handler` until closed; `tls` is an ssl.SSLContext or nothing."""

    def __init__(self, handler: Callable[[Request], None], tls=None):
        self.loop = asyncio.new_event_loop()
        make = self.loop.create_server(lambda: _Connection(handler), "127.0.0.1", 0, ssl=tls)
        server = self.loop.run_until_complete(make)
        self.port = server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """An answer's bytes; `content_type="x"` becomes the header content-type."""
    fields = {"content-length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}
    head = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body
