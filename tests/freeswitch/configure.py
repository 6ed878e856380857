"""Lays out the configuration of a FreeSWITCH for the tests: `python -m tests.freeswitch.configure some/folder`.

It says how to start a FreeSWITCH with it, and what to tell the tests.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEPLOY = HERE.parents[1] / "deploy" / "freeswitch"
EXTENSIONS = {
    "acme": ("101", "102", "103", "104", "105", *map(str, range(201, 213))),
    "globex": ("101", "102"),
}
DIAL = "{^^:presence_id=${dialed_user}@${dialed_domain}}${sofia_contact(*/${dialed_user}@${dialed_domain})}"
PORTS = {"ESL_PORT": 18021, "SIP_PORT": 15060, "TRUNKS_PORT": 15062, "TRUNK_PORT": 15064}
RTP = {"RTP_START": 27000, "RTP_END": 27998}


def extension_password(number: str, tenant: str) -> str:
    return f"sip-{number}-{tenant}"


def _user(number: str, tenant: str) -> str:
    return (
        f'<user id="{number}"><params><param name="password" value="{extension_password(number, tenant)}"/></params>'
        f'<variables><variable name="user_context" value="{tenant}"/></variables></user>'
    )


def _directory() -> str:
    domains = []
    for tenant, numbers in EXTENSIONS.items():
        users = "\n".join(_user(number, tenant) for number in numbers)
        params = f'<params><param name="dial-string" value="{DIAL}"/></params>'
        domains.append(f'<domain name="{tenant}.test">{params}\n{users}\n</domain>')
    return "\n".join(domains)


def _replaced(text: str, values: Mapping[str, str]) -> str:
    for former, now in values.items():
        if former not in text:
            raise SystemExit(f"{former} is not in the file it is to be replaced in.")
        text = text.replace(former, now)
    return text


def lay_out(folder: Path, password: str, ports: Mapping[str, int]) -> None:
    """Everything this FreeSWITCH reads and writes is below `folder`."""
    for name in ("conf/voxledger", "log", "db", "run", "recordings", "cdr", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    conf = folder / "conf"
    given = {f"@{name}@": str(value) for name, value in {**ports, **RTP}.items() if name != "ESL_PORT"}
    template = (HERE / "conf" / "freeswitch.xml").read_text()
    (conf / "freeswitch.xml").write_text(_replaced(template, {**given, "@DIRECTORY@": _directory()}))
    for name, values in (
        ("event_socket.conf.xml", {"CHANGE-ME": password, "8021": str(ports["ESL_PORT"])}),
        ("json_cdr.conf.xml", {"/var/lib/freeswitch/voxledger-cdr": str(folder / "cdr")}),
    ):
        (conf / "voxledger" / name).write_text(_replaced((DEPLOY / name).read_text(), values))
    (conf / "voxledger" / "dialplan.xml").write_text((DEPLOY / "dialplan" / "voxledger.xml").read_text())


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.freeswitch.configure", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder.resolve()
    password = os.environ.get("FREESWITCH_PASSWORD") or secrets.token_hex(16)
    lay_out(folder, password, PORTS)
    places = " ".join(f"-{name} {folder / name}" for name in ("conf", "log", "db", "run"))
    sys.stdout.write(
        f"Start it:\n  freeswitch -nf -nonat -nonatmap {places} -temp {folder / 'tmp'}\n"
        f"Then:\n  FREESWITCH_ADDRESS=127.0.0.1:{PORTS['ESL_PORT']} FREESWITCH_PASSWORD={password}"
        f" FREESWITCH_FOLDER={folder} make test-freeswitch\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
