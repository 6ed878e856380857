"""Which addresses a tenant's URL may lead to: public ones, and those the operator allows by network."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Ranges of global unicast that carry an IPv4 address or lead elsewhere than they say.
_TRANSLATED = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))  # 6to4, Teredo
# Not in the standard library's list of what is not global (IANA special-purpose registry).
_SPECIAL_V4 = (IPv4Network("192.88.99.0/24"), IPv4Network("192.0.0.0/24"))


def is_public(address: Address) -> bool:
    """Whether the address is an ordinary one of the internet, not mapped or translated from another."""
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _TRANSLATED)


def is_allowed(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether the operator's list names the network; a mapped address counts as the one it maps."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any(
        candidate in network
        for candidate in (address, mapped)
        if candidate is not None
        for network in allowed
        if network.version == candidate.version
    )


def may_reach(text: str, allowed: Sequence[Network]) -> bool:
    """`text` is an address as a resolver gives it; one with a zone is link-local and refused."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.scope_id:
        return False
    return is_public(address) or is_allowed(address, allowed)
