"""What all lists have in common: columns one may put away, saved views, totals that cost little."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from accounts.access import person_of
from accounts.models import SavedView, User
from tenants.errors import RefusedError

MOST_VIEWS = 30
COUNTED = 2000  # rows of a list that are counted rather than estimated
_LONGEST_NAME = 60
_LONGEST_QUERY = 2000
M = TypeVar("M", bound=Model)
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Column:
    name: str
    label: str
    shown: bool = True


@dataclass(frozen=True)
class Kind:
    """A list of the portal: `kept` names what of its address makes a view; what opens the row is no column."""

    name: str
    whole: str  # what it is called without filters
    columns: tuple[Column, ...]
    kept: frozenset[str]

    @property
    def cookie(self) -> str:
        return f"{self.name}_columns"

    def shown(self, cookies: Mapping[str, str]) -> frozenset[str]:
        """The names of the columns to show."""
        chosen = cookies.get(self.cookie)
        if chosen is None:
            return frozenset(column.name for column in self.columns if column.shown)
        return frozenset(column.name for column in self.columns) & frozenset(chosen.split("."))

    def cookie_of(self, names: Iterable[str]) -> str:
        known = {column.name for column in self.columns}
        return ".".join(name for name in names if name in known)

    def query_of(self, query: str) -> str:
        """The part of an address that makes a view; the same filters give the same words."""
        pairs = {name: value for name, value in parse_qsl(query) if name in self.kept and value and "\0" not in value}
        return urlencode(sorted(pairs.items()))


kinds: dict[str, Kind] = {}  # each list adds itself


def register(name: str, whole: str, columns: tuple[Column, ...], kept: Iterable[str]) -> Kind:
    kinds[name] = Kind(name, whole, columns, frozenset(kept))
    return kinds[name]


@dataclass(frozen=True)
class View:
    pk: int
    name: str
    href: str
    current: bool


@dataclass(frozen=True)
class Look:
    """How a list is shown to this person in this browser."""

    kind: Kind
    shown: frozenset[str]
    columns: tuple[tuple[Column, bool], ...]
    views: tuple[View, ...]
    may_save: bool
    query: str
    path: str
    address: str

    @property
    def title(self) -> str:
        """The name of the view one looks at."""
        if not self.query:
            return self.kind.whole
        return next((view.name for view in self.views if view.current), "Views")

    @property
    def is_saved(self) -> bool:
        return any(view.current for view in self.views)


def look_of(request: HttpRequest, kind: Kind) -> Look:
    """A person without a row in this schema, such as an acting administrator, saves no views."""
    person = person_of(request)
    shown = kind.shown(request.COOKIES)
    query = kind.query_of(request.META.get("QUERY_STRING", ""))
    views: Iterable[SavedView] = ()
    if isinstance(person, User):
        views = SavedView.objects.filter(user_id=person.pk, list_name=kind.name)[:MOST_VIEWS]
    return Look(
        kind=kind,
        shown=shown,
        columns=tuple((column, column.name in shown) for column in kind.columns),
        views=tuple(View(view.pk, view.name, f"?{view.query}", view.query == query) for view in views),
        may_save=isinstance(person, User),
        query=query,
        path=request.path,
        address=request.get_full_path(),
    )


def save_view(user: User, kind: Kind, *, name: str, query: str) -> SavedView:
    """Under a name that exists, the filters take the place of the former ones."""
    name, query = " ".join(name.replace("\0", "").split()), kind.query_of(query)
    if not name or len(name) > _LONGEST_NAME:
        raise RefusedError("not_valid", f"Give the view a name of 1 to {_LONGEST_NAME} characters.")
    if not query:
        raise RefusedError("not_valid", "There is no filter to save. Filter the list first.")
    if len(query) > _LONGEST_QUERY:
        raise RefusedError("not_valid", "These filters are too long to be saved.")
    own = SavedView.objects.filter(user=user, list_name=kind.name)
    former = own.filter(name__iexact=name).first()
    if former:
        former.name, former.query = name, query
        former.save(update_fields=["name", "query"])
        return former
    if own.count() >= MOST_VIEWS:
        raise RefusedError("too_many", f"A list has at most {MOST_VIEWS} views. Remove one first.")
    return SavedView.objects.create(user=user, list_name=kind.name, name=name, query=query)


def bounded(view: Callable[P, R]) -> Callable[P, R]:
    """Each query of a list may take only so long; then `portal.middleware` offers a narrower search."""

    @functools.wraps(view)
    def within(*args: P.args, **kwargs: P.kwargs) -> R:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(settings.LIST_TIMEOUT_MS)])
            return view(*args, **kwargs)

    return within


def estimate(rows: "QuerySet[M]") -> int:
    """About how many, by the planner's statistics: nothing is read."""
    if rows.query.is_empty():
        return 0
    (plan,) = json.loads(rows.order_by().explain(format="json"))
    return int(plan["Plan"]["Plan Rows"])


def about(rows: "QuerySet[M]") -> tuple[int, bool]:
    """How many, and whether that is exact: a number that is small by the estimate is counted."""
    guess = estimate(rows)
    if guess > COUNTED:
        return guess, False
    counted = len(rows.order_by().values_list("pk")[: COUNTED + 1])
    return (counted, True) if counted <= COUNTED else (max(guess, counted), False)


def total_words(total: int, exact: bool, one: str, many: str) -> str:
    """12 users; about 18,300 calls."""
    return f"{'' if exact else 'about '}{total:,} {one if total == 1 else many}"


def context_of(request: HttpRequest, kind: Kind) -> dict[str, Any]:
    """What the parts `ui/views.html` and `ui/columns.html` and the tag `column` need."""
    look = look_of(request, kind)
    return {"list": look, "shown": look.shown}
