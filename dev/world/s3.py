"""An S3-compatible server on a free loopback port, as somebody runs beside AWS: its own address, its own keys, path style.

moto plays it. It accepts any key and any checksum, and keeps no checksum of a multipart object: enough for what is written and
read, not for what is refused.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from world.paths import program
from world.ports import free_ports
from world.servers import serving

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A running server, its keys, and its boto3 options."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = REGION

    @property
    def options(self) -> dict[str, str]:
        """What boto3.client("s3", **options) takes; the caller adds path style."""
        return {"endpoint_url": self.endpoint, "region_name": self.region, "aws_access_key_id": self.access_key,
                "aws_secret_access_key": self.secret_key}


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """moto as an S3-compatible server with nothing in it."""
    work = Path(tempfile.mkdtemp(prefix="holdfast-s3-"))
    port = free_ports(1)[0]
    env = {"PATH": os.defpath, "HOME": str(work), "TMPDIR": str(work), "LANG": "C.UTF-8"}
    command = [program("moto", "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    try:
        with serving("moto", command, env, work, port):
            yield S3Server(f"http://127.0.0.1:{port}", "holdfast-tests", secrets.token_hex(16))
    finally:
        shutil.rmtree(work, ignore_errors=True)
