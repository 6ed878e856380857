"""Runs a real Asterisk on loopback for as long as a `with` block lasts, with a state of its own each time.

`prepare` makes the tree it runs in. Asterisk lives in private mount and pid namespaces that end with this process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
DEPLOY = PROJECT / "deploy" / "asterisk"
ROOT = Path(os.environ.get("ASTERISK_ROOT", PROJECT / ".cache" / "asterisk"))

HOST = "127.0.0.1"
TRUNK_HOST = "127.0.0.2"  # a second loopback address, so that Asterisk can know the trunk by its address
USERNAME = "voxledger"
RTP_PORTS = 200  # two for each leg
EXTENSIONS = {
    "acme.test": ("101", "102", "103", "104", "105", *map(str, range(201, 213))),
    "globex.test": ("101", "102"),
}

# Inside the namespaces: a /proc and a /dev of its own, and the run's folder on /run/rig; they vanish with them.
# This shell is process 1, and the kernel ends all others with it. It ends when Asterisk does, or when its standard
# input closes, which the starter does, on purpose or by dying. (unshare's --kill-child alone would not reach an
# Asterisk that has changed its user: the kernel forgets the death signal then.)
ENTER = """
set -e
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$1/dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 "$1/dev/tty" c 5 0
mkdir -m 1777 "$1/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
mkdir "$1/run/rig"
mount --bind "$2" "$1/run/rig"
trap 'exit 0' TERM
exec 3<&0
{ cat <&3 >/dev/null; kill -TERM 1; } &
chroot "$1" asterisk -f -C /run/rig/etc/asterisk.conf -U asterisk -G asterisk </dev/null 3<&- &
wait $!
"""


class RigError(Exception):
    """Asterisk cannot be started here; the message says what is missing."""


def extension_password(number: str, domain: str) -> str:
    return f"sip-{number}-{domain.partition('.')[0]}"


@dataclass(frozen=True)
class Asterisk:
    """Where a running Asterisk listens, and its files as seen from outside."""

    folder: Path
    sip_port: int
    ami_port: int
    http_port: int
    trunk_port: int
    username: str
    secret: str

    @property
    def ari_url(self) -> str:
        return f"http://{HOST}:{self.http_port}/ari"

    @property
    def log(self) -> Path:
        return self.folder / "log" / "full.log"

    @property
    def recordings(self) -> Path:
        """Where ARI stores its recordings; MixMonitor can be told to as well (`/run/rig/spool/recording/...`)."""
        return self.folder / "spool" / "recording"

    def outside(self, path: str) -> Path:
        """A path that Asterisk reported, as this process sees it."""
        return self.folder / Path(path).relative_to("/run/rig")


def prepare() -> None:
    """Builds the tree if it is not there yet (a few minutes, once)."""
    subprocess.run([HERE / "prepare"], check=True)


def _is_free(kind: socket.SocketKind, host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _free_port(kind: socket.SocketKind, host: str = HOST) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _free_rtp_range(size: int = RTP_PORTS) -> int:
    # Below the range the kernel hands out itself, so that no phone's own socket is in the way.
    for _ in range(200):
        start = 10000 + 2 * secrets.randbelow(10000)
        if all(_is_free(socket.SOCK_DGRAM, HOST, port) for port in range(start, start + size)):
            return start
    raise RigError("no free range of UDP ports for RTP between 10000 and 30000.")


def _extensions_section() -> str:
    sections = []
    for domain, numbers in EXTENSIONS.items():
        tenant = domain.partition(".")[0]
        for number in numbers:
            name = f"{number}@{domain}"
            sections.append(
                f"[{name}]({tenant}-extension)\nauth = {name}\naors = {name}\n"
                f'callerid = "{tenant.title()} {number}" <{number}>\n'
                f"[{name}]({tenant}-auth)\nusername = {number}\npassword = {extension_password(number, domain)}\n"
                f"[{name}](registered)\n"
            )
    return "\n".join(sections)


def _asterisk_ids(root: Path) -> tuple[int, int]:
    for line in (root / "etc/passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == "asterisk":
            return int(uid), int(gid)
    raise RigError(f"{root} is damaged; remove {root}/.complete and run tests/asterisk/prepare again.")


def _modules_folder(root: Path) -> str:
    found = next(root.glob("usr/lib/*/asterisk/modules"), None)
    if found is None:
        raise RigError(f"{root} is damaged; remove {root}/.complete and run tests/asterisk/prepare again.")
    return "/" + str(found.relative_to(root))


def _lay_out(folder: Path, root: Path, values: dict[str, str], conf: Path) -> None:
    """Writes the run's configuration: our templates, and what an administrator adds, as it stands in deploy/.

    A template in `conf` takes the place of its namesake here.
    """
    etc = folder / "etc"
    for part in ("etc/voxledger", "db", "spool/recording", "spool/monitor", "spool/tmp", "run", "log"):
        (folder / part).mkdir(parents=True)
    templates = {template.name: template for each in (HERE / "conf", conf) for template in each.glob("*.conf")}
    for template in templates.values():
        text = template.read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        (etc / template.name).write_text(text)
    for added in sorted(DEPLOY.glob("*.conf")):
        (etc / "voxledger" / added.name).write_text(added.read_text().replace("CHANGE-ME", values["SECRET"]))
    owner = _asterisk_ids(root)
    folder.chmod(0o755)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, *owner)


def _check(root: Path) -> None:
    if os.geteuid() != 0:
        raise RigError("Asterisk runs in a chroot with namespaces of its own, which takes root: use sudo.")
    if not (root / ".complete").exists():
        raise RigError(f"there is no Asterisk in {root}: run tests/asterisk/prepare first.")
    for tool in ("unshare", "chroot"):
        if shutil.which(tool) is None:
            raise RigError(f"{tool} is missing: install util-linux and coreutils.")


def _tail(path: Path, lines: int = 25) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _wait_until_answering(asterisk: Asterisk, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ready is when AMI says FullyBooted: every module is loaded then, SIP and ARI included."""
    deadline = time.monotonic() + seconds
    login = f"Action: Login\r\nUsername: {asterisk.username}\r\nSecret: {asterisk.secret}\r\n\r\n".encode()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((HOST, asterisk.ami_port), timeout=5) as ami:
            ami.sendall(login)
            answer = b""
            while b"FullyBooted" not in answer:
                received = ami.recv(65536)
                if not received:
                    break
                answer += received
            else:
                return
            if b"Authentication failed" in answer:
                raise RigError("AMI refused the rig's user; see deploy/asterisk/manager.conf.")
        time.sleep(0.1)
    log = _tail(asterisk.log) or _tail(asterisk.folder / "log" / "start.log")
    raise RigError(f"Asterisk did not come up within {seconds:.0f} s. The end of its log:\n{log}")


@contextlib.contextmanager
def running_asterisk(
    root: Path = ROOT,
    *,
    sip_port: int | None = None,
    ami_port: int | None = None,
    http_port: int | None = None,
    trunk_port: int | None = None,
    start_timeout: float = 60.0,
    conf: Path = HERE / "conf",
    more: Mapping[str, str] | None = None,
) -> Iterator[Asterisk]:
    """Asterisk, up and answering; ports not named are free ones.

    `conf` holds templates that take the place of some of this rig's, `more` what those name beside its own values.
    """
    _check(root)
    with contextlib.ExitStack() as stack:
        # `prepare` takes this lock alone before it touches the tree.
        lock = stack.enter_context(open(f"{root}.lock", "w"))
        fcntl.flock(lock, fcntl.LOCK_SH)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voxledger-asterisk-")))
        rtp_start = _free_rtp_range()
        asterisk = Asterisk(
            folder=folder,
            sip_port=sip_port or _free_port(socket.SOCK_DGRAM),
            ami_port=ami_port or _free_port(socket.SOCK_STREAM),
            http_port=http_port or _free_port(socket.SOCK_STREAM),
            trunk_port=trunk_port or _free_port(socket.SOCK_DGRAM, TRUNK_HOST),
            username=USERNAME,
            secret=secrets.token_hex(16),
        )
        values = {
            "SIP_PORT": str(asterisk.sip_port),
            "AMI_PORT": str(asterisk.ami_port),
            "HTTP_PORT": str(asterisk.http_port),
            "TRUNK_HOST": TRUNK_HOST,
            "TRUNK_PORT": str(asterisk.trunk_port),
            "RTP_START": str(rtp_start),
            "RTP_END": str(rtp_start + RTP_PORTS - 1),
            "MODULES": _modules_folder(root),
            "EXTENSIONS": _extensions_section(),
            "SECRET": asterisk.secret,
            **(more or {}),
        }
        _lay_out(folder, root, values, conf)
        with open(folder / "log" / "start.log", "wb") as start_log:
            namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
            process = subprocess.Popen(
                [*namespaces, "sh", "-c", ENTER, "sh", root.resolve(), folder],
                stdin=subprocess.PIPE,
                stdout=start_log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is for the starter, which then takes all down
            )
        try:
            _wait_until_answering(asterisk, process, start_timeout)
            yield asterisk
        finally:
            process.communicate()
