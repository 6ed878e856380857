"""The whole of it: phones, a real edge, a real Asterisk behind it, and the portal that `manage.py up` brings up.

`python -m tests.edge.site` brings it up for a telephone of your own, see docs/edge.md.
"""

import contextlib
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.asterisk.flows import ACME, GLOBEX, TONES
from tests.asterisk.phone import Phone
from tests.asterisk.rig import EXTENSIONS, HOST, TRUNK_HOST, Asterisk, extension_password, running_asterisk
from tests.asterisk.rig import prepare as prepare_asterisk
from tests.edge.phone import EdgePhone, Transport
from tests.edge.rig import HERE, Edge, free_port, places, prepare, running_edge
from tests.run.stack import Stack, eventually, stack

KNOWN = (("101", ACME), ("102", ACME), ("101", GLOBEX))  # the phones that `main` names


class Desk:
    """The portal as somebody with a token sees it from one host."""

    def __init__(self, portal: Stack, host: str, opened: dict[str, Any]) -> None:
        self.id: int = opened.get("id", 0)
        headers = {"Host": f"{host}:{portal.port}", "Authorization": f"Bearer {opened['api_token']}"}
        self._api = httpx.Client(base_url=f"http://127.0.0.1:{portal.port}", headers=headers, timeout=60)

    def close(self) -> None:
        self._api.close()

    def get(self, path: str) -> Any:
        return self._api.get(path).raise_for_status().json()

    def file(self, path: str) -> bytes:
        return self._api.get(path).raise_for_status().content

    def knows(self, path: str) -> bool:
        return self._api.get(path).status_code == 200

    def post(self, path: str, **fields: Any) -> Any:
        answer = self._api.post(path, json=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def put(self, path: str, **fields: Any) -> Any:
        """Changes what is there."""
        answer = self._api.patch(path, json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()


@dataclass
class Site:
    """Everything that one provider has, and the phones that are put up around it."""

    portal: Stack
    asterisk: Asterisk
    edge: Edge
    system: Desk
    acme: Desk
    globex: Desk
    phones: list[Phone] = field(default_factory=list)

    async def phone(
        self,
        number: str,
        domain: str = ACME,
        *,
        transport: Transport = "udp",
        tone_hz: int = 0,
        host: str = HOST,
    ) -> EdgePhone:
        """Registered through the edge."""
        phone = EdgePhone(
            number,
            domain,
            server=(HOST, self.edge.tls_port if transport == "tls" else self.edge.port),
            tone_hz=tone_hz or TONES[number, domain],
            password=extension_password(number, domain),
            host=host,
            transport=transport,
            tls=self.edge.trusting() if transport == "tls" else None,
        )
        self.phones.append(phone)
        await phone.open()
        await phone.register()
        return phone

    async def trunk(self) -> EdgePhone:
        """The far end of the trunk, which comes in by the edge as well."""
        trunk = EdgePhone(
            "1888722", TRUNK_HOST, server=(HOST, self.edge.port), tone_hz=TONES["trunk", ""], host=TRUNK_HOST,
            port=self.asterisk.trunk_port,
        )  # fmt: skip
        self.phones.append(trunk)
        await trunk.open()
        return trunk


@contextlib.contextmanager
def running_site() -> Iterator[Site]:
    """The portal knows the Asterisk and the passwords of its phones, and records all calls of acme."""
    prepare_asterisk()
    prepare()
    with contextlib.ExitStack() as running:
        found = running.enter_context(places())
        control_port = free_port()
        portal = running.enter_context(stack(SIP_PORT=str(control_port), TRUSTED_PROXIES="127.0.0.1"))
        portal.start()
        asterisk = running.enter_context(running_asterisk(conf=HERE / "conf", more={"EDGE_PORT": str(found.port)}))
        edge = running.enter_context(
            running_edge(
                found,
                switch_port=asterisk.sip_port,
                control_port=control_port,
                trunks={TRUNK_HOST: "AudioCodes"},
            )
        )
        opened = portal.opened
        desks = [
            Desk(portal, "localhost", opened["system"]),
            Desk(portal, "acme.localhost", opened["tenants"][0]),
            Desk(portal, "globex.localhost", opened["tenants"][1]),
        ]
        site = Site(portal, asterisk, edge, *desks)
        _furnish(site)
        yield site
        for desk in desks:
            desk.close()


def _furnish(site: Site) -> None:
    for desk, domain in ((site.acme, ACME), (site.globex, GLOBEX)):
        for number in EXTENSIONS[domain]:
            password = extension_password(number, domain)
            if desk.knows(f"/api/v1/extensions/{number}"):
                desk.put(f"/api/v1/extensions/{number}", sip_password=password)
            else:
                desk.post("/api/v1/extensions", number=number, sip_password=password)
    site.acme.put("/api/v1/company", enable_extension_audio_recording=True, pause_style="skip")
    switch = site.system.post(
        "/api/v1/switches",
        name="Asterisk behind the edge",
        kind="asterisk",
        address={"host": HOST, "ami_port": site.asterisk.ami_port, "http_port": site.asterisk.http_port},
        credentials={"ami_user": site.asterisk.username, "ami_password": site.asterisk.secret},
    )
    site.system.post("/api/v1/trunks", name="AudioCodes", switch=switch["id"])
    site.system.post("/api/v1/inbound-rules", kind="did", number="18800101", tenant=site.acme.id)

    def is_connected() -> bool:
        state = site.system.get(f"/api/v1/switches/{switch['id']}")
        return bool(state["connector_state"] == "connected" and " by AMI and ARI." in state["connector_message"])

    eventually(is_connected, seconds=120)


def main() -> None:
    with running_site() as site:
        address = f"{HOST}:{site.edge.port}"
        phones = (f"{number}@{domain} {extension_password(number, domain)}" for number, domain in KNOWN)
        acme = site.portal.opened["tenants"][0]
        lines = [
            f"Phones register at {address} by UDP or TCP, at {HOST}:{site.edge.tls_port} by TLS, as",
            *(f"  {each}" for each in phones),
            f"The portal is {acme['url']}, user {acme['username']}, password {acme['password']}. Ctrl-C stops it all.",
        ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        main()
