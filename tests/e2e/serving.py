"""A server of a test, for as long as a block."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Ends when all that it was asked has been answered."""

    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """A client that was killed breaks its connection; that is what the tests are about."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], kind: type[Server] = Server) -> Iterator[str]:
    """Serves on a free port of this host; its URL."""
    server = kind(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
