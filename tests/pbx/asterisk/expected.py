"""What a person would write down of each flow of `tests/asterisk/flows.py`, by the specification's table of reasons.

One call is a dict of what its record says, times and ids aside: of those it says which there are. The same table is
held against the recorded streams and against the calls placed on a real Asterisk.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Call = dict[str, Any]
ACME, GLOBEX = "acme.test", "globex.test"
OUTSIDE = {"caller": "1888722", "caller_display_name": "", "caller_domain": "127.0.0.2", "trunk_name": "AudioCodes"}


def target(
    callee: str, end_reason: str | None, status_code: int = 0, *, rang: bool = True, answered: bool = False, **more: Any
) -> dict[str, Any]:
    """A device of an acme extension; `more` says what is different."""
    name = f"Acme {callee}"
    return {
        "callee": callee,
        "callee_display_name": name,
        "caller": "",  # the call's
        "kind": "extension",
        "call_type": "normal_call",
        "destination": f"sip:{callee}@127.0.0.1:port",
        "trunk_name": "",
        "outbound_caller_id": "",
        "rang": rang,
        "answered": answered,
        "end_reason": end_reason,
        "status_code": status_code,
    } | more


def talked(callee: str, end_reason: str | None, **more: Any) -> dict[str, Any]:
    return target(callee, end_reason, answered=True, **more)


def service(callee: str, end_reason: str, **more: Any) -> dict[str, Any]:
    """An IVR or a queue; both answer."""
    more = {"kind": "service", "callee_display_name": "", "destination": f"sip:{callee}@acme.test"} | more
    return target(callee, end_reason, answered=True, **more)


def to_mobile(end_reason: str, **more: Any) -> dict[str, Any]:
    more = {
        "kind": "external",
        "callee_display_name": "",
        "destination": "sip:5550199@AudioCodes",
        "trunk_name": "AudioCodes",
        "outbound_caller_id": "18800600",
    } | more
    return target("5550199", end_reason, answered=True, **more)


def call(callee: str, end_reason: str | None, targets: Sequence[dict[str, Any]], **more: Any) -> Call:
    """A call of 101 within acme; `more` says what is different."""
    caller = more.get("caller", "101")
    targets = [{**each, "caller": each["caller"] or caller} for each in targets]
    answered = any(each["answered"] for each in targets)
    people = [each for each in targets if each["answered"] and each["kind"] != "service"] or list(targets)
    same = [each["callee_display_name"] for each in targets if each["callee"] == callee]
    return {
        "direction": "internal",
        "caller": "101",
        "caller_display_name": "Acme 101",
        "caller_domain": ACME,
        "callee": callee,
        "callee_display_name": same[0] if same else "",
        "callee_domain": ACME,
        "final_display_name": people[-1]["callee_display_name"] if people else "",
        "did": "",
        "trunk_name": "",
        "outbound_caller_id": "",
        "rang": any(each["rang"] for each in targets),
        "answered": answered,
        "status": "answered",
        "status_code": 0,
        "end_reason": end_reason,
        "has_call_id": True,
        "incomplete": False,
        "targets": list(targets),
    } | more


def from_trunk(did: str, callee: str, end_reason: str | None, targets: Sequence[dict[str, Any]], **more: Any) -> Call:
    """A call of somebody outside; every leg carries the trunk it came in by."""
    # The tenant is known by the DID alone, so a service has no address.
    addresses = [{} if each["kind"] != "service" else {"destination": ""} for each in targets]
    targets = [
        {**each, "trunk_name": "AudioCodes", **address} for each, address in zip(targets, addresses, strict=True)
    ]
    return call(callee, end_reason, targets, **(OUTSIDE | {"direction": "inbound", "did": did} | more))


def by_name(callee: str) -> dict[str, str]:
    """Dialled by the endpoint's name, not by the address of its device."""
    return {"destination": f"sip:{callee}@acme.test"}


AGENT_102, AGENT_103, BY_104, BY_105 = by_name("102"), by_name("103"), by_name("104"), by_name("105")
GROUP = {"call_type": "ring_group_call"}

EXPECTED: dict[str, list[Call]] = {
    "extension_to_extension": [call("102", "caller_disconnect", [talked("102", "caller_disconnect")])],
    "callee_hangs_up": [call("102", "callee_disconnect", [talked("102", "callee_disconnect")])],
    "two_devices": [
        call("102", "caller_disconnect", [target("102", None), talked("102", "caller_disconnect")]),
    ],
    "no_answer": [call("103", None, [target("103", None, 408)], status="noanswer", status_code=408)],
    "no_answer_forward": [
        call("104", "caller_disconnect", [target("104", None, 408, **BY_104), talked("105", "caller_disconnect")]),
    ],
    "busy": [
        call(
            "102",
            "callee_disconnect",
            [target("102", "callee_disconnect", 486)],
            status="failed",
            status_code=486,
        )
    ],
    "rejected": [
        call(
            "102",
            "callee_disconnect",
            [target("102", "callee_disconnect", 603)],
            status="failed",
            status_code=603,
        )
    ],
    "redirected": [
        call("102", "caller_disconnect", [target("102", "redirected", 302), talked("103", "caller_disconnect")]),
    ],
    "cancelled": [
        call("102", "cancelled", [target("102", "cancelled", 487)], status="noanswer", status_code=487),
    ],
    "unknown_number": [call("777", None, [], status="failed", status_code=404)],
    "unknown_did": [from_trunk("18809999", "18809999", None, [], status="failed", status_code=404)],
    "absent": [call("103", None, [], status="noanswer", status_code=480)],
    "two_tenants_at_once": [
        call("102", "caller_disconnect", [talked("102", "caller_disconnect")]),
        call(
            "102",
            "callee_disconnect",
            [
                talked(
                    "102",
                    "callee_disconnect",
                    callee_display_name="Globex 102",
                    destination="sip:102@globex.test",
                )
            ],
            caller_display_name="Globex 101",
            caller_domain=GLOBEX,
            callee_domain=GLOBEX,
        ),
    ],
    "trunk_to_extension": [
        from_trunk("18800101", "101", "caller_disconnect", [talked("101", "caller_disconnect")]),
    ],
    "outbound": [
        call(
            "95550199",
            "callee_disconnect",
            [to_mobile("callee_disconnect")],
            direction="outbound",
            trunk_name="AudioCodes",
            outbound_caller_id="18800600",
        )
    ],
    "did_to_mobile": [
        from_trunk(
            "18800199",
            "95550199",
            "caller_disconnect",
            [to_mobile("caller_disconnect")],
            direction="inbound_outbound",
            outbound_caller_id="18800600",
        )
    ],
    "ivr_queue_agent": [
        from_trunk(
            "18800606",
            "5000",
            "callee_disconnect",
            [
                service("5000", "referred"),
                service("8000", "referred"),
                target("102", None, **AGENT_102),
                talked("103", None, **AGENT_103),
            ],
        )
    ],
    "ivr_abandoned": [
        from_trunk("18800606", "5000", "caller_disconnect", [service("5000", "caller_disconnect")]),
    ],
    "queue_abandoned": [
        call(
            "8000",
            "caller_disconnect",
            [
                service("8000", "caller_disconnect"),
                target("102", "cancelled", 487, **AGENT_102),
                target("103", "cancelled", 487, **AGENT_103),
            ],
            final_display_name="",
        )
    ],
    "ring_group": [
        call(
            "6000",
            "caller_disconnect",
            [target("104", None, **BY_104, **GROUP), talked("105", "caller_disconnect", **BY_105, **GROUP)],
        )
    ],
    "ivr_ring_group": [
        from_trunk(
            "18800606",
            "5000",
            "caller_disconnect",
            [
                service("5000", "referred"),
                talked("104", "caller_disconnect", **BY_104, **GROUP),
                target("105", None, **BY_105, **GROUP),
            ],
        )
    ],
    "blind_transfer_by_callee": [
        call("102", "caller_disconnect", [talked("102", "referred"), talked("103", "caller_disconnect")]),
    ],
    "blind_transfer_by_caller": [
        call(
            "102",
            "callee_disconnect",
            [talked("102", "caller_disconnect"), talked("103", "callee_disconnect", caller="102")],
        )
    ],
    "blind_transfer_to_nobody": [call("102", "caller_disconnect", [talked("102", "caller_disconnect")])],
    "caller_transfers_to_ivr": [
        call(
            "105",
            "caller_disconnect",
            [
                talked("105", "callee_disconnect"),
                service("5000", "referred", caller="105"),
                service("8000", "referred", caller="105"),
                talked("102", None, caller="105", **AGENT_102),
                target("103", None, caller="105", **AGENT_103),
            ],
        )
    ],
    "attended_transfer_by_callee": [
        from_trunk(
            "18800101",
            "101",
            "caller_disconnect",
            [talked("101", "attended_transfer_complete"), talked("103", "caller_disconnect", caller="101")],
        )
    ],
    "attended_transfer_by_caller": [
        call(
            "102",
            "callee_disconnect",
            [talked("102", "caller_disconnect"), talked("103", "callee_disconnect")],
        )
    ],
    "trunk_transferred_to_trunk": [
        from_trunk(
            "18800101",
            "101",
            "callee_disconnect",
            [talked("101", "referred"), to_mobile("callee_disconnect")],
            direction="inbound_outbound",
            outbound_caller_id="18800600",
        )
    ],
    "hold_unhold": [call("102", "caller_disconnect", [talked("102", "caller_disconnect")])],
    "feature_codes": [call("102", "caller_disconnect", [talked("102", "caller_disconnect")])],
}


def plain_call(record: Mapping[str, Any]) -> Call:
    """A record (of the REST API, or the dataclass as a dict) without what is different each time."""
    targets = [_plain_target(each) for each in record["targets"]]
    _check_times(record)
    first = [each["callee"] for each in targets]
    return {
        **{name: record[name] for name in _NAMES},
        "end_reason": record["end_reason"] or None,
        "rang": record["ring_time"] is not None,
        "answered": record["answered_time"] is not None,
        "has_call_id": bool(record["call_id"]),
        # Which of two devices of one extension is tried first is Asterisk's own affair.
        "targets": sorted(targets, key=lambda each: (first.index(each["callee"]), each["answered"])),
    }


_NAMES = (
    "direction",
    "caller",
    "caller_display_name",
    "caller_domain",
    "callee",
    "callee_display_name",
    "callee_domain",
    "final_display_name",
    "did",
    "trunk_name",
    "outbound_caller_id",
    "status",
    "status_code",
    "incomplete",
)
_TARGET_NAMES = (
    "callee",
    "callee_display_name",
    "caller",
    "kind",
    "call_type",
    "trunk_name",
    "outbound_caller_id",
    "status_code",
)


def _plain_target(target: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: target[name] for name in _TARGET_NAMES},
        "destination": re.sub(r"(@127\.0\.0\.1):\d+", r"\1:port", target["destination"]),
        "end_reason": target["end_reason"] or None,
        "rang": target["ring_time"] is not None,
        "answered": target["answered_time"] is not None,
    }


def _check_times(record: Mapping[str, Any]) -> None:
    """Every leg starts, rings, is answered and ends in that order, within the call."""
    for leg in (record, *record["targets"]):
        times = [leg[name] for name in ("start_time", "ring_time", "answered_time", "ended_time")]
        told = [time for time in times if time is not None]
        assert told == sorted(told), (leg["callee"], told)
        assert record["start_time"] <= told[0], leg["callee"]
        assert told[-1] <= record["ended_time"], leg["callee"]
