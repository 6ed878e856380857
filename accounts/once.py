"""Secrets that are shown once: they wait, encrypted, in the session for the next page that shows them."""

from dataclasses import dataclass

from django.http import HttpRequest

from tenants.crypto import SecretUnreadableError, decrypt, encrypt

_KEY = "shown_once"


@dataclass(frozen=True)
class Shown:
    label: str
    secret: str


def show_once(request: HttpRequest, label: str, secret: str) -> None:
    request.session[_KEY] = [*request.session.get(_KEY, []), [label, encrypt(secret)]]


def take_secrets(request: HttpRequest) -> list[Shown]:
    """What is to be shown now; it is gone after."""
    waiting = request.session.pop(_KEY, [])
    try:
        return [Shown(label, decrypt(stored)) for label, stored in waiting]
    except SecretUnreadableError:
        return []
