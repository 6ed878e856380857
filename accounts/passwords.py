"""Passwords that the portal makes: long enough to need no rule, without letters that look alike."""

import secrets

_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def new_password(length: int = 20) -> str:
    """20 letters of 56: 116 bits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
