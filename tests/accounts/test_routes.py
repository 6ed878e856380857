"""Every route of both hosts says who may enter, and keeps strangers out."""

import importlib
from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet
from django.test import Client
from django.urls import URLPattern, URLResolver

from accounts.models import User
from accounts.rest import Door
from accounts.roles import GRANTS, Permission, Role

HOSTS = {"portal.urls_system": "portal.test", "portal.urls_tenant": "acme.portal.test"}
SAMPLES = {
    "IntConverter": "1", "StringConverter": "1", "SlugConverter": "a", "PathConverter": "a",
    "UUIDConverter": "00000000-0000-0000-0000-000000000000",
}  # fmt: skip
BY_OTHER_MEANS = {"open_to_all", "switch_token"}
METHODS = ("get", "post", "put", "patch", "delete")


def _patterns(found: list[URLPattern | URLResolver], before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in found:
        path = before
        text = str(pattern.pattern)
        for name, converter in pattern.pattern.converters.items():
            for written in (f"<{type(converter).__name__.removesuffix('Converter').lower()}:{name}>", f"<{name}>"):
                text = text.replace(written, SAMPLES[type(converter).__name__])
            text = text.replace(f"<str:{name}>", SAMPLES["StringConverter"])
        path += text
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, path)
        else:
            yield path, pattern


def routes() -> list[tuple[str, str, URLPattern]]:
    return [
        (urlconf, path, pattern)
        for urlconf in HOSTS
        for path, pattern in _patterns(importlib.import_module(urlconf).urlpatterns)
    ]


def _doors() -> list[ParameterSet]:
    return [pytest.param(*route, id=f"{route[0]}:/{route[1]}") for route in routes()]


def _permissions(view: object) -> set[object]:
    """What a view demands: rights, a switch's token; `open_to_all` when it says so; else nothing."""
    if getattr(view, "open_to_all", False):
        return {"open_to_all"}
    if getattr(view, "switch_door", False):
        return {"switch_token"}
    door = getattr(view, "cls", None) or getattr(view, "view_class", None)
    if getattr(door, "open_to_all", False):
        return {"open_to_all"}
    needed = getattr(door or view, "permission", None)
    return set(needed.values()) if isinstance(needed, dict) else {needed} - {None}


def test_there_are_routes() -> None:
    assert {urlconf for urlconf, _, _ in routes()} == set(HOSTS)
    assert len(routes()) > 60


@pytest.mark.parametrize(("urlconf", "path", "pattern"), _doors())
def test_route_says_who_may_enter(urlconf: str, path: str, pattern: URLPattern) -> None:
    needed = _permissions(pattern.callback)
    assert needed, f"{path} lacks requires(...), open_to_all or permission"
    granted = GRANTS[Role.SYSTEM] if urlconf == "portal.urls_system" else GRANTS[Role.ADMIN]
    assert needed <= granted | BY_OTHER_MEANS, "nobody on this host may ever enter"


@pytest.mark.parametrize(("urlconf", "path", "pattern"), _doors())
def test_route_keeps_strangers_out(acme: object, urlconf: str, path: str, pattern: URLPattern) -> None:
    if _permissions(pattern.callback) == {"open_to_all"}:
        pytest.skip("open to all")
    client = Client(headers={"host": HOSTS[urlconf]})
    for method in METHODS:
        response = getattr(client, method)(f"/{path}")
        assert response.status_code in {302, 401, 403, 404, 405}, method
        if response.status_code == 302:
            assert response["Location"].startswith("/sign-in"), method


@pytest.mark.parametrize(("urlconf", "path", "pattern"), [door for door in _doors() if "urls_tenant" in door.id])
def test_tenant_route_takes_no_token_or_session_of_another_tenant(
    globex: object, globex_admin: tuple[Client, str], urlconf: str, path: str, pattern: URLPattern
) -> None:
    """With acme's own rows behind the addresses, globex's administrator is nobody on acme's host."""
    if _permissions(pattern.callback) == {"open_to_all"}:
        pytest.skip("open to all")
    browser, token = globex_admin
    assert browser.get(f"/{path}").status_code in {302, 401, 403, 404, 405}
    program = Client(headers={"host": "acme.portal.test", "authorization": f"Bearer {token}"})
    assert program.get(f"/{path}").status_code in {302, 401, 403, 404, 405}


@pytest.fixture
def globex_admin(tenants: None) -> tuple[Client, str]:
    """A browser with globex's session cookie on acme's host, and a token of globex."""
    from accounts.tokens import create_token
    from tenants.changes import SYSTEM
    from tenants.schemas import in_schema

    with in_schema("globex"):
        user = User.objects.create_user("admin", "correct horse", role=Role.ADMIN)
        _, token = create_token(SYSTEM, user, {"name": "script"})
        client = Client(headers={"host": "acme.portal.test"})
        client.force_login(user)
    with in_schema("acme"):
        User.objects.create_user("admin", "correct horse", role=Role.ADMIN)
    return client, token


def test_session_of_another_tenant_is_nobody(globex_admin: tuple[Client, str]) -> None:
    browser, token = globex_admin
    page = browser.get("/users")
    assert (page.status_code, page["Location"]) == (302, "/sign-in?next=%2Fusers")
    assert browser.get("/api/v1/users").status_code == 401
    program = Client(headers={"authorization": f"Bearer {token}"})
    assert program.get("/api/v1/users", headers={"host": "globex.portal.test"}).status_code == 200
    refused = program.get("/api/v1/users", headers={"host": "acme.portal.test"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize("role", [Role.USER, Role.QUEUE_MANAGER])
def test_roles_open_only_what_they_grant(signed_in_as: object, role: Role) -> None:
    """Each page of a tenant's host, as each lesser role: 403 exactly where the role lacks the right."""
    client: Client = signed_in_as(role)  # type: ignore[operator]
    wrong = []
    for urlconf, path, pattern in routes():
        needed = _permissions(pattern.callback)
        if urlconf == "portal.urls_system" or needed & (GRANTS[role] | BY_OTHER_MEANS):
            continue
        status = client.get(f"/{path}").status_code
        if status not in {403, 405}:
            wrong.append((path, status))
    assert wrong == []


def test_door_is_the_base_of_every_rest_view() -> None:
    """So that errors have one form and a permission is always asked."""
    classes = {getattr(pattern.callback, "cls", None) for _, path, pattern in routes() if path.startswith("api/v1/")}
    assert {cls for cls in classes if cls and not issubclass(cls, Door)} == set()


def test_profile_is_granted_to_everyone() -> None:
    assert [role for role in Role if Permission.PROFILE not in GRANTS[role]] == []
