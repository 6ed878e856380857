"""What a person would write down of each flow on this FreeSWITCH: as on Asterisk, but for what is named here."""

from typing import Any

from tests.pbx.asterisk.expected import EXPECTED as ON_ASTERISK
from tests.pbx.asterisk.expected import Call

SERVICES = {"5000", "8000"}


def _target(told: dict[str, Any]) -> dict[str, Any]:
    """The directory of the tests has no names, and every device and service has an address."""
    number = told["callee"]
    address = f"sip:{number}@127.0.0.1:port"
    if number in SERVICES:
        address = f"sip:{number}@acme.test"
    elif told["kind"] == "external":
        address = f"sip:{number}@127.0.0.2:15064"
    return told | {"callee_display_name": "", "destination": address}


def _call(told: Call) -> Call:
    names = {"caller_display_name": told["caller"], "callee_display_name": "", "final_display_name": ""}
    return told | names | {"targets": by_start([_target(each) for each in told["targets"]])}


def by_start(targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A queue dials its agents in whichever order: those of a group that nobody rang after stand by their numbers."""
    found: list[dict[str, Any]] = []
    agents: list[dict[str, Any]] = []
    for each in targets:
        if each["callee"] in {"102", "103"}:
            agents.append(each)
        else:
            found += [*sorted(agents, key=lambda agent: str(agent["callee"])), each]
            agents = []
    return found + sorted(agents, key=lambda agent: str(agent["callee"]))


EXPECTED: dict[str, list[Call]] = {flow: [_call(each) for each in calls] for flow, calls in ON_ASTERISK.items()}
# A blind transfer to nobody is accepted: the transferor is out, and whom it left hears that there is nobody.
del EXPECTED["blind_transfer_to_nobody"]
