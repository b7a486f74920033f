#!/usr/bin/env python3
"""Cold start: from exec to the first poll for an event, with logging set up, clients made and the policy read.

    cargo build --release --workspace --bins
    python3 bench/cold_start.py [function ...]

Each function's release binary is started 15 times after one warm-up (so that the page cache has it) and killed at its
first `GET /2018-06-01/runtime/invocation/next`. Printed are medians at that moment: CPU of the process (user + system),
wall time since exec, peak resident memory, and its own part of it (without pages of the program's file). Three places of the policy:

- file: a path in the package; no client is needed before the first event
- s3: an object of a stand-in for S3 on 127.0.0.1, over HTTP
- s3+tls: the same over HTTPS with the system's root certificates loaded, as against the real S3 (left out without openssl)

and, where boto3 can be imported, Python with boto3 clients for RDS, S3, CloudWatch and SNS which reads the same object
over HTTP, as the floor for a Python function that does the same. What Lambda adds (loading the package, starting the
sandbox) is not measured. Exits with 1 when a target is missed.
"""

import importlib.util
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from host import FUNCTIONS, ROOT, Host, binary, machine
from wire import Request, Server, answer

RUNS = 15
MOST_CPU_MS, MOST_MB = 10, 12
POLICY = ROOT / "policies" / "lomash-wood.yaml"
ROOTS = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")

PYTHON = """
import os, urllib.request, boto3
clients = [boto3.client(s) for s in ("rds", "s3", "cloudwatch", "sns")]
bucket, _, key = os.environ["HOLDFAST_POLICY"].removeprefix("s3://").partition("/")
policy = clients[1].get_object(Bucket=bucket, Key=key)["Body"].read()
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
urllib.request.urlopen(f"http://{api}/2018-06-01/runtime/invocation/next").read()
"""


def s3(tls=None) -> Server:
    """Answers every request with the policy."""
    policy = answer(POLICY.read_bytes(), etag='"bench"', content_type="binary/octet-stream")

    def handle(request: Request):
        assert request.method == "GET", request.method
        request.reply(policy)

    return Server(handle, tls)


def certificate(folder: str) -> tuple[ssl.SSLContext, str] | None:
    """A server with a certificate of its own, and root certificates that have it and the system's; none without openssl."""
    if not shutil.which("openssl"):
        return None
    key, cert, roots = (os.path.join(folder, n) for n in ("key.pem", "cert.pem", "roots.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    Path(roots).write_bytes((ROOTS.read_bytes() if ROOTS.exists() else b"") + Path(cert).read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, roots


def measure(command: list[str], env: dict[str, str]) -> tuple[float, float, float, float]:
    """Medians of CPU ms, wall ms, peak MB and own MB."""
    moments = []
    for _ in range(RUNS + 1):
        with Host(command, env) as host:
            moments.append(host.first_poll())
    moments = moments[1:]
    rows = [(m.cpu * 1e3, m.wall * 1e3, m.peak, m.own) for m in moments]
    return tuple(median(column) for column in zip(*rows, strict=True))


def main() -> int:
    print(f"machine: {machine()}\nruns: {RUNS} each, medians; target: {MOST_CPU_MS} ms CPU, {MOST_MB} MB\n")
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        plain = s3()
        in_s3 = {"HOLDFAST_POLICY": "s3://bench/policy.yaml", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{plain.port}"}
        ways = {"file": {"HOLDFAST_POLICY": str(POLICY)}, "s3": in_s3}
        if made := certificate(folder):
            tls = s3(made[0])
            ways["s3+tls"] = in_s3 | {"AWS_ENDPOINT_URL": f"https://localhost:{tls.port}", "SSL_CERT_FILE": made[1]}
        print(f"{'function':<14}{'policy':<8}{'CPU ms':>8}{'wall ms':>9}{'peak MB':>9}{'own MB':>8}")
        worst: dict[str, float] = {}
        for function in sys.argv[1:] or FUNCTIONS:
            for way, env in ways.items():
                cpu, wall, peak, own = measure([binary(function)], env)
                worst[way] = max(worst.get(way, 0), cpu)
                mark = "" if cpu <= MOST_CPU_MS and peak <= MOST_MB else "  over the target"
                missed += bool(mark)
                print(f"{function:<14}{way:<8}{cpu:8.1f}{wall:9.1f}{peak:9.1f}{own:8.1f}{mark}", flush=True)
        if importlib.util.find_spec("boto3"):
            cpu, wall, peak, own = measure([sys.executable, "-c", PYTHON], in_s3)
            print(f"{'boto3':<14}{'s3':<8}{cpu:8.1f}{wall:9.1f}{peak:9.1f}{own:8.1f}  {cpu / worst['s3']:.0f} times the CPU")
        else:
            print("boto3 is not installed here: no comparison")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
