"""Guessing is slowed down: after some failures a name is locked for that address for a while (django-axes)."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def client_ip(request: HttpRequest) -> str:
    peer = request.META.get("REMOTE_ADDR") or "0.0.0.0"  # noqa: S104 - a placeholder, nothing binds to it
    return address_behind(str(peer), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def address_behind(peer: str, forwarded: str) -> str:
    """The address nearest to who speaks: X-Forwarded-For is believed from TRUSTED_PROXIES only, from the right.

    The leftmost when all are trusted: phones in a proxy's own network are not one address.
    """
    trusted, nearest = settings.TRUSTED_PROXIES, peer
    if not trusted:
        return peer
    hops = [part.strip() for part in forwarded.split(",") if part.strip()]
    for hop in [*hops, peer][::-1]:
        try:
            address = ip_address(hop)
        except ValueError:
            break
        nearest = str(address)
        if not any(address in network for network in trusted):
            break
    return nearest


def username_of(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """One name in every spelling that signs the same user in: no fresh tries for a capital letter."""
    given = (credentials or {}).get("username") or request.POST.get("username", "")
    return str(given).strip().lower()[:255].replace("\0", "")


def locked_out(request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    return render(request, "accounts/locked_out.html", status=429)
