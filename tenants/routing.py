"""Which tenant a call belongs to: by its SIP domain, else by the number dialled through the inbound rules."""

from django.db.models import Q

from tenants.models import InboundRule, SipDomain, Tenant
from tenants.values import plain_number

_LONGEST_NUMBER = 32


def tenant_for(domain: str = "", did: str = "", trunk: str = "") -> Tenant | None:
    """The tenant in whatever state it is; the caller decides what a suspended one means. `trunk` is a trunk's name,
    ours or the switch's."""
    if domain:
        found = SipDomain.objects.select_related("tenant").filter(domain__iexact=domain.strip().rstrip(".")).first()
        if found is not None:
            return found.tenant
    rule = rule_for(did, trunk)
    return rule.tenant if rule else None


def rule_for(did: str, trunk: str = "") -> InboundRule | None:
    """A rule bound to the trunk comes before a general one; then the longest wins, a whole number before a prefix."""
    number = plain_number(did)
    if not number:
        return None
    starts = [number[:length] for length in range(1, min(len(number), _LONGEST_NUMBER) + 1)]
    general = Q(trunk__isnull=True)
    of_trunk = Q(trunk__name=trunk) | Q(trunk__switch_name=trunk) if trunk else Q()
    rules = InboundRule.objects.select_related("tenant").filter(
        general | of_trunk if trunk else general,
        Q(kind=InboundRule.Kind.DID, number=number) | Q(kind=InboundRule.Kind.PREFIX, number__in=starts),
    )
    return max(rules, key=_strength, default=None)


def _strength(rule: InboundRule) -> tuple[bool, int, bool, int]:
    return rule.trunk_id is not None, len(rule.number), rule.kind == InboundRule.Kind.DID, -rule.pk
