"""What the browser tests and the README's pictures look at: two tenants, people, and a few days of calls.

`main()` runs inside the portal's environment (`manage.py shell`). Always the same calls, whenever it runs.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Extension, User
from accounts.roles import Role
from cdr import ledger
from cdr.models import CDR
from cdr.records import Record, TargetRecord
from events.endpoints import Settings, create_endpoint
from events.models import Attempt, Delivery
from tenants.changes import SYSTEM
from tenants.crypto import token_hash
from tenants.models import Domain, SipDomain, Switch, SystemSettings, Tenant
from tests.browser.recorded import record_latest_call
from tests.browser.words import PASSWORD, SWITCH_TOKEN

PEOPLE = {
    "101": "Front desk",
    "102": "Ada Lindgren",
    "103": "Sam Okafor",
    "104": "Mira Novak",
    "105": "Jonas Weber",
    "106": "Ines Duarte",
}
DID = "+493055501"
TRUNK = "City line"


def tenant(name: str, title: str, zone: str) -> Tenant:
    made, _ = Tenant.objects.get_or_create(
        schema_name=name, defaults={"name": title, "host": name, "state": "active", "time_zone": zone}
    )
    Domain.objects.get_or_create(domain=f"{name}.localhost", defaults={"tenant": made, "is_primary": True})
    SipDomain.objects.get_or_create(domain=f"{name}.example", defaults={"tenant": made, "is_primary": True})
    made.create_schema(check_if_exists=True, verbosity=0)
    connection.set_schema_to_public()
    return made


def outside(chance: random.Random) -> str:
    return f"+49301{chance.randint(100000, 999999)}"


class Call:
    """One call being told: seconds are counted from its beginning."""

    def __init__(self, number: int, start: datetime, chance: random.Random) -> None:
        self.number, self.start, self.chance = number, start, chance
        self.targets: list[TargetRecord] = []

    def at(self, seconds: int | None) -> datetime | None:
        return None if seconds is None else self.start + timedelta(seconds=seconds)

    def leg(
        self,
        callee: str,
        since: int,
        answered: int | None,
        ended: int,
        *,
        kind: str = "extension",
        name: str = "",
        reason: str = "",
        code: int = 0,
        caller: str = "",
        trunk: str = "",
        held: tuple[int, int] | None = None,
        cost: Decimal | None = None,
    ) -> None:
        pause = [[moment.isoformat() for moment in map(self.at, held) if moment]] if held else []
        self.targets.append(
            TargetRecord(
                callee=callee,
                caller=caller,
                kind=kind,
                start_time=self.at(since) or self.start,
                ring_time=self.at(since),
                answered_time=self.at(answered),
                ended_time=self.at(ended) or self.start,
                target_id=f"{self.number}-{len(self.targets)}",
                callee_display_name=name or PEOPLE.get(callee, ""),
                destination=f"192.0.2.{20 + int(callee[-2:])}:{5060 + self.number % 900}",
                trunk_name=trunk,
                end_reason=reason,
                status_code=code,
                held=pause,
                cost=cost,
            )
        )

    def record(self, direction: str, caller: str, callee: str, ended: int, **given: object) -> Record:
        answered = min((leg.answered_time for leg in self.targets if leg.answered_time), default=None)
        ring = min((leg.ring_time for leg in self.targets if leg.ring_time), default=None)
        end = self.start + timedelta(seconds=ended)
        values: dict[str, object] = {
            "session_id": str(690852418417594368 + self.number * 7919),
            "call_id": f"{self.chance.getrandbits(64):x}@192.0.2.8",
            "direction": direction,
            "caller": caller,
            "caller_display_name": PEOPLE.get(caller, ""),
            "caller_domain": "acme.example" if caller in PEOPLE else "",
            "callee": callee,
            "callee_display_name": PEOPLE.get(callee, ""),
            "callee_domain": "acme.example",
            "final_display_name": PEOPLE.get(callee, ""),
            "start_time": self.start,
            "ring_time": ring,
            "answered_time": answered,
            "ended_time": end,
            "ring_duration": int(((answered or end) - ring).total_seconds()) if ring else 0,
            "talk_duration": int((end - answered).total_seconds()) if answered else 0,
            "status": "answered" if answered else "noanswer",
            "extensions": [number for number in (caller, *(leg.callee for leg in self.targets)) if number in PEOPLE],
            "targets": self.targets,
        }
        return Record(**values | given)  # type: ignore[arg-type]


def queue_call(call: Call) -> Record:
    chance, caller = call.chance, outside(call.chance)
    menu, answered = chance.randint(8, 20), chance.randint(50, 110)
    talk = chance.randint(60, 700)
    ended = answered + talk
    reason = chance.choice(["caller_disconnect", "callee_disconnect"])
    held = (answered + talk // 3, answered + talk // 3 + 38) if talk > 200 else None
    common = {"caller": caller, "trunk": TRUNK}
    call.leg("5000", 0, 0, menu, kind="service", name="Main menu", reason="referred", **common)  # type: ignore[arg-type]
    call.leg("8000", menu, menu, answered, kind="service", name="Support queue", reason="referred", **common)  # type: ignore[arg-type]
    call.leg("102", menu + 4, None, menu + 24, **common)  # type: ignore[arg-type]
    call.leg("103", answered - 12, answered, ended, reason=reason, held=held, **common)  # type: ignore[arg-type]
    return call.record(
        "inbound", caller, "5000", ended, callee_display_name="Main menu", final_display_name=PEOPLE["103"],
        did=DID, trunk_name=TRUNK, end_reason=reason,
    )  # fmt: skip


def missed_call(call: Call) -> Record:
    caller, callee, ended = outside(call.chance), call.chance.choice(list(PEOPLE)), call.chance.randint(9, 30)
    call.leg(callee, 1, None, ended, reason="cancelled", code=487, caller=caller, trunk=TRUNK)
    return call.record(
        "inbound", caller, callee, ended, did=DID, trunk_name=TRUNK, end_reason="cancelled", status_code=487
    )


def outgoing_call(call: Call) -> Record:
    caller, callee = call.chance.choice(list(PEOPLE)), outside(call.chance)
    answered, talk = call.chance.randint(5, 15), call.chance.randint(20, 900)
    cost = (Decimal(talk) * Decimal("0.0002")).quantize(Decimal("0.00001"))
    reason = "caller_disconnect"
    call.leg(
        callee, 2, answered, answered + talk, kind="external", reason=reason, caller=caller, trunk=TRUNK, cost=cost
    )
    return call.record(
        "outbound",
        caller,
        callee,
        answered + talk,
        trunk_name=TRUNK,
        outbound_caller_id=DID,
        end_reason=reason,
        cost=cost,
    )


def busy_call(call: Call) -> Record:
    caller, callee = call.chance.choice(list(PEOPLE)), outside(call.chance)
    call.leg(callee, 1, None, 4, kind="external", reason="callee_disconnect", code=486, caller=caller, trunk=TRUNK)
    return call.record(
        "outbound",
        caller,
        callee,
        4,
        trunk_name=TRUNK,
        end_reason="callee_disconnect",
        status="failed",
        status_code=486,
    )


def internal_call(call: Call) -> Record:
    caller, callee = call.chance.sample(list(PEOPLE), 2)
    talk = call.chance.randint(10, 400)
    call.leg(callee, 0, 4, 4 + talk, reason="callee_disconnect", caller=caller)
    return call.record("internal", caller, callee, 4 + talk, end_reason="callee_disconnect")


FLOWS = [queue_call] * 4 + [outgoing_call] * 3 + [missed_call, internal_call, internal_call, busy_call]


def records(count: int, until: datetime) -> Iterator[Record]:
    """Newest first: the first is always a call through menu and queue."""
    chance = random.Random(22)
    start = until - timedelta(minutes=21)
    for number in range(count):
        flow = queue_call if number == 0 else chance.choice(FLOWS)
        yield flow(Call(count - number, start, chance))
        start -= timedelta(seconds=chance.randint(30, 1500))


def answer_endpoint() -> None:
    """As if the endpoint had taken every call at once."""
    chance = random.Random(5)
    for delivery in Delivery.objects.order_by("pk"):
        now = delivery.created_at + timedelta(milliseconds=40)
        Attempt.objects.create(delivery=delivery, at=now, status=200, latency_ms=chance.randint(18, 160))
    Delivery.objects.update(
        state=Delivery.State.DELIVERED, attempts_made=1, next_attempt_at=None, finished_at=timezone.now()
    )


def fill(made: Tenant, count: int) -> None:
    connection.set_tenant(made)
    User.objects.create_user("admin", PASSWORD, role=Role.ADMIN, display_name="Ruth Adler")
    sam = User.objects.create_user("sam", PASSWORD, role=Role.USER, display_name="Sam Okafor")
    owners = {"103": sam}
    for number in ("101", "102"):
        owners[number] = User.objects.create_user(f"u{number}", PASSWORD, role=Role.USER, display_name=PEOPLE[number])
    for number, name in PEOPLE.items():
        Extension.objects.create(number=number, display_name=name, user=owners.get(number))
    address = Settings(url="https://crm.example.com/calls", enabled=True, auth="bearer", token="not-a-real-token")
    create_endpoint(address, actor=SYSTEM)
    with transaction.atomic():
        ledger.write(made, 1, list(records(count, timezone.now()))[::-1])
    answer_endpoint()
    recorded = [pk for pk in CDR.objects.exclude(answered_time=None).values_list("pk", flat=True) if pk % 3 == 0]
    CDR.objects.filter(pk__in=recorded).update(recorded=True)
    record_latest_call()
    connection.set_schema_to_public()


def main() -> None:
    call_command("migrate_schemas", shared=True, verbosity=0)
    public, _ = Tenant.objects.get_or_create(
        schema_name="public", defaults={"name": "Voxledger", "host": "public", "state": "active"}
    )
    Domain.objects.get_or_create(domain="localhost", defaults={"tenant": public, "is_primary": True})
    SystemSettings.current()
    fill(tenant("acme", "Acme Logistics", "Europe/Berlin"), 160)
    tenant("globex", "Globex", "UTC")
    User.objects.create_user("root", PASSWORD, role=Role.SYSTEM)
    Switch.objects.create(name="Phones", kind=Switch.Kind.HTTP, token_hash=token_hash(SWITCH_TOKEN))
