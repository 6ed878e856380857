"""Who is there to call whom: the simulated tenants as the simulator knows them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from accounts.models import Extension
from tenants.models import InboundRule, Tenant, Trunk
from tenants.schemas import in_schema

# Numbers that are set aside for fiction, with the names that a trunk may pass on.
OUTSIDERS = (
    ("12025550170", "Grace Lindqvist"),
    ("12025550171", ""),
    ("12025550172", "Hôtel Bélair"),
    ("442079460018", "Østergaard & Søn"),
    ("442079460142", "Юлия Смирнова"),
    ("3312345670", ""),
    ("12025550173", "李小龍"),
    ("12025550174", "O'Brien, Niamh"),
)
_MOST = 100


@dataclass(frozen=True, slots=True)
class Number:
    number: str
    name: str = ""
    records_audio: bool = False
    records_video: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """One tenant: where its calls come from and who answers."""

    domain: str
    trunk: str
    dids: Sequence[str]
    extensions: Sequence[Number]
    ivr: Number = field(default=Number("5000", "Reception menu"))
    queue: Number = field(default=Number("8000", "Support queue"))
    group: Number = field(default=Number("7000", "Everyone"))
    pause_code: str = "*48"
    resume_code: str = "*49"


def worlds() -> list[World]:
    """Of every active simulated tenant that has two extensions to talk to each other."""
    found = []
    for tenant in Tenant.objects.filter(simulated=True, state=Tenant.State.ACTIVE).order_by("pk")[:_MOST]:
        world = _world(tenant)
        if world.domain and len(world.extensions) >= 2:
            found.append(world)
    return found


def _world(tenant: Tenant) -> World:
    domain = tenant.sip_domains.filter(is_primary=True).values_list("domain", flat=True).first() or ""
    trunk = Trunk.objects.filter(tenant=tenant).values_list("name", flat=True).first() or ""
    dids = InboundRule.objects.filter(tenant=tenant, kind=InboundRule.Kind.DID).values_list("number", flat=True)[:_MOST]
    with in_schema(tenant.schema_name):
        rows = Extension.objects.filter(enabled=True).order_by("number")[:_MOST]
        extensions = [Number(row.number, row.display_name, row.record_audio, row.record_video) for row in rows]
    return World(
        domain=domain,
        trunk=trunk,
        dids=list(dids),
        extensions=extensions,
        pause_code=tenant.pause_recording_code,
        resume_code=tenant.resume_recording_code,
    )
