"""Azure Blob Storage as azurite plays it, on a free loopback port; and the requests a test makes to it, signed as Azure wants.

    with azurite() as blobs:
        blobs.create_container("backups")
        blobs.put("backups", "a/b", b"...")
"""

import base64
import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

from world.paths import CACHE, DEV, Missing
from world.ports import free_ports
from world.servers import serving

HOME = CACHE / "azurite"
PROGRAM = HOME / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "holdfasttests"
VERSION = "2021-12-02"  # of the service's API, for our own requests
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Blobs:
    """A running azurite: its address, and the account with its key."""

    endpoint: str
    key: str
    account: str = ACCOUNT

    def signature(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], size: int) -> str:
        """The header Authorization by the account's key ("Authorize with Shared Key" of Azure's REST reference)."""
        plain = ["content-encoding", "content-language", "", "content-md5", "content-type", "date", "if-modified-since",
                 "if-match", "if-none-match", "if-unmodified-since", "range"]
        lines = [method, *(headers.get(name, "") if name else str(size or "") for name in plain)]
        lines += [f"{name}:{value}" for name, value in sorted(headers.items()) if name.startswith("x-ms-")]
        # The account stands twice: once as itself, once as the beginning of the emulator's path.
        lines += [f"/{self.account}{path}", *(f"{name}:{value}" for name, value in sorted(query.items()))]
        digest = hmac.new(base64.b64decode(self.key), "\n".join(lines).encode(), hashlib.sha256).digest()
        return f"SharedKey {self.account}:{base64.b64encode(digest).decode()}"

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, **query: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One signed request for a path below the account; returns status, headers in lower case, and body."""
        path = f"/{self.account}/{quote(path)}"
        sent = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": VERSION, "content-type": "application/octet-stream"}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        sent["authorization"] = self.signature(method, path, query, sent, len(body))
        url = self.endpoint.removesuffix(f"/{self.account}") + path
        if query:
            url += "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        made = urllib.request.Request(url, data=body if method == "PUT" else None, headers=sent, method=method)
        try:
            with DIRECT.open(made, timeout=30) as answer:
                return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()

    def must(self, *arguments, **more) -> tuple[dict[str, str], bytes]:
        """A request that has to succeed."""
        status, headers, body = self.request(*arguments, **more)
        assert status < 300, f"{arguments[:2]}: {status} {body.decode(errors='replace')}"
        return headers, body

    def create_container(self, name: str) -> None:
        """Makes a container."""
        self.must("PUT", name, restype="container")

    def put(self, container: str, blob: str, body: bytes, **headers: str) -> None:
        """Writes a blob, whatever was there."""
        self.must("PUT", f"{container}/{blob}", body, {"x-ms-blob-type": "BlockBlob"} | headers)

    def get(self, container: str, blob: str) -> bytes:
        """A blob's bytes."""
        return self.must("GET", f"{container}/{blob}")[1]

    def blobs(self, container: str, **query: str) -> dict[str, int]:
        """Sizes of the blobs by name; with `include="uncommittedblobs"` also of those that nobody committed."""
        _, body = self.must("GET", container, restype="container", comp="list", **query)
        found = ElementTree.fromstring(body).iter("Blob")
        return {each.findtext("Name", ""): int(each.findtext("Properties/Content-Length") or 0) for each in found}

    @property
    def env(self) -> dict[str, str]:
        """The account for a client that reads the environment."""
        return {"AZURE_STORAGE_ACCOUNT_NAME": self.account, "AZURE_STORAGE_ACCOUNT_KEY": self.key}


@contextmanager
def azurite() -> Iterator[Blobs]:
    """An azurite with an account and a key of its own, and nothing in it."""
    if not PROGRAM.exists():
        raise Missing(f"{PROGRAM} is missing: run `python3 {DEV / 'install.py'} peers` first")
    work = Path(tempfile.mkdtemp(prefix="holdfast-azurite-"))
    port = free_ports(1)[0]
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    command = [str(PROGRAM), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(work), "--silent",
               "--skipApiVersionCheck", "--disableTelemetry"]
    env = {"PATH": os.environ["PATH"], "HOME": str(work), "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
    try:
        with serving("azurite", command, env, work, port):
            yield Blobs(f"http://127.0.0.1:{port}/{ACCOUNT}", key)
    finally:
        shutil.rmtree(work, ignore_errors=True)
