"""What the page shell shows on every page: who is signed in, the menu of what they may open."""

from typing import Any

from django.http import HttpRequest


def shell(request: HttpRequest) -> dict[str, Any]:
    return {"tenant": getattr(request, "tenant", None), "user": getattr(request, "user", None)}
