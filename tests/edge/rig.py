"""Runs a real Kamailio with the configuration of deploy/kamailio for as long as a `with` block lasts.

`prepare` fetches it. It ends with this process, however that ends.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
DEPLOY = PROJECT / "deploy" / "kamailio"
ROOT = Path(os.environ.get("KAMAILIO_ROOT", PROJECT / ".cache" / "kamailio"))
HOST = "127.0.0.1"
# Below what the kernel hands out itself, and below the rig's RTP.
FIRST_PORT, LAST_PORT = 5100, 9900

# This shell ends Kamailio when its own standard input closes, which the starter does, on purpose or by dying.
ENTER = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ cat <&3 >/dev/null; kill -TERM $child; } 2>/dev/null &
wait $child
"""


class RigError(Exception):
    """Kamailio cannot be started here; the message says why."""


@dataclass(frozen=True)
class Edge:
    """Where a running edge listens, and its files."""

    folder: Path
    port: int
    tls_port: int

    @property
    def log(self) -> str:
        return (self.folder / "kamailio.log").read_text(errors="replace")

    def trusting(self) -> ssl.SSLContext:
        """What a phone needs that trusts the edge's certificate and no other."""
        return ssl.create_default_context(cafile=str(self.folder / "certificate.pem"))


@dataclass
class Places:
    """Ports that nobody else can take before the edge does."""

    port: int
    tls_port: int
    _held: contextlib.ExitStack

    def let_go(self) -> None:
        self._held.close()


def prepare() -> None:
    """Fetches Kamailio if it is not there yet."""
    subprocess.run([HERE / "prepare"], check=True)


@contextlib.contextmanager
def places() -> Iterator[Places]:
    """The switch is told the edge's port before the edge can start, for the edge is told the switch's."""
    with contextlib.ExitStack() as held:
        yield Places(_hold(held), _hold(held), held)


def free_port() -> int:
    with contextlib.ExitStack() as held:
        return _hold(held)


def _hold(held: contextlib.ExitStack) -> int:
    for port in random.sample(range(FIRST_PORT, LAST_PORT), 500):
        with contextlib.ExitStack() as tried, contextlib.suppress(OSError):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                tried.enter_context(socket.socket(socket.AF_INET, kind)).bind((HOST, port))
            held.enter_context(tried.pop_all())
            return port
    raise RigError(f"no port between {FIRST_PORT} and {LAST_PORT} is free")


@contextlib.contextmanager
def running_edge(
    found: Places, *, switch_port: int, control_port: int, trunks: dict[str, str], secret: str | None = None
) -> Iterator[Edge]:
    """`trunks` are names by address; the secret is one of its own unless it is told."""
    if not (ROOT / ".complete").exists():
        raise RigError(f"there is no Kamailio in {ROOT}: run tests/edge/prepare first.")
    with tempfile.TemporaryDirectory(prefix="voxledger-edge-") as made:
        edge = Edge(Path(made), found.port, found.tls_port)
        _lay_out(edge, switch_port, control_port, trunks, secrets.token_hex(32) if secret is None else secret)
        found.let_go()
        with open(edge.folder / "kamailio.log", "wb") as log:
            process = subprocess.Popen(
                ["sh", "-c", ENTER, "sh", *_command(edge.folder)],
                env=os.environ | {"LD_LIBRARY_PATH": _libraries()},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_answering(edge, process)
            yield edge
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """One that is told to end while it has hardly begun waits a minute for processes of its own."""
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _command(folder: Path) -> list[str]:
    modules = next(ROOT.glob("usr/lib/*/kamailio/modules"))
    files = ["-f", f"{folder}/kamailio.cfg", "-L", f"{modules}/", "-Y", str(folder), "-w", str(folder)]
    return [f"{ROOT}/usr/sbin/kamailio", *files, "-DD", "-E", "-m", "64", "-M", "8"]


def _libraries() -> str:
    folders = next(ROOT.glob("usr/lib/*-linux-gnu"))
    return f"{folders}:{folders}/kamailio"


def _lay_out(edge: Edge, switch_port: int, control_port: int, trunks: dict[str, str], secret: str) -> None:
    """deploy/kamailio as an administrator fills it in."""
    shutil.copytree(DEPLOY, edge.folder, dirs_exist_ok=True)
    site = (DEPLOY / "site.cfg").read_text()
    site = site.replace("192.0.2.5:5060", f"{HOST}:{edge.port}").replace("192.0.2.5:5061", f"{HOST}:{edge.tls_port}")
    for name, value in (("SWITCH", switch_port), ("CONTROL", control_port)):
        site = re.sub(f'"!{name}_HOST!.*!g"', f'"!{name}_HOST!{HOST}!g"', site)
        site = re.sub(f'"!{name}_PORT!.*!g"', f'"!{name}_PORT!{value}!g"', site)
    (edge.folder / "site.cfg").write_text(site)
    (edge.folder / "secret.cfg").write_text(f'#!define SEAL_SECRET "{secret}"\n')
    lines = (f"1 {address} 32 0 {name}\n" for address, name in trunks.items())
    (edge.folder / "trunks.list").write_text("".join(lines))
    tls = (DEPLOY / "tls.cfg").read_text()
    (edge.folder / "tls.cfg").write_text(tls.replace("/etc/kamailio", str(edge.folder)))
    _make_certificate(edge.folder)


def _make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "private_key.pem").write_bytes(private)


def _wait_until_answering(edge: Edge, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """A request that may go no further is answered by the edge itself."""
    asked = (
        f"OPTIONS sip:edge SIP/2.0\r\nVia: SIP/2.0/UDP {HOST};branch=z9hG4bKrig;rport\r\nMax-Forwards: 0\r\n"
        "From: <sip:rig>;tag=1\r\nTo: <sip:edge>\r\nCall-ID: rig\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                asking.sendto(asked, (HOST, edge.port))
                if asking.recv(65_535).startswith(b"SIP/2.0 483 ") and all(
                    _is_open(port) for port in (edge.port, edge.tls_port)
                ):
                    return
            time.sleep(0.05)
    raise RigError(f"Kamailio did not come up. The end of its log:\n{edge.log[-4000:]}")


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=5):
        return True
    return False
