"""Finished calls from a switch that knows only those: each finds its tenant and becomes a record, once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import OperationalError, transaction
from django.utils import timezone

from accounts.models import Extension
from cdr import ledger
from cdr.callevent_json import CallEventError
from cdr.records import Record
from pbx import quarantine
from pbx.http import bodies, call_cdr
from pbx.http.bodies import Document
from pbx.intake import BROKEN, IN_FUTURE, MOST_AHEAD, Result, not_kept, note_seen
from pbx.models import Quarantined
from pbx.quarantine import Reject
from pbx.routes import CONFLICT, Refusal, Route, TenantFinder, claim, open_tenant
from tenants.models import Switch, Tenant
from tenants.schemas import in_schema

DOCUMENTS_MAX = 1_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Call:
    """A document whose tenant is known."""

    session_id: str
    document: dict[str, Any]


def take(switch: Switch, body: bytes, *, one_a_line: bool = False) -> list[Result]:
    """Takes one document, an array or NDJSON. What is rejected is kept as the bytes that were sent."""
    documents = bodies.documents_of(body, DOCUMENTS_MAX, one_a_line=one_a_line)
    results = settle(switch, documents)
    rejected = [index for index, result in enumerate(results) if result.status == "rejected"]
    if rejected:
        log.warning("cdrs quarantined", switch=switch.name, **Counter(results[index].code for index in rejected))
        sent = bodies.bytes_of(body, documents)
        kept = quarantine.keep(switch.pk, [_reject(sent[index], results[index]) for index in rejected])
        lost = {index for index, is_kept in zip(rejected, kept, strict=True) if not is_kept}
        results = [not_kept(result) if index in lost else result for index, result in enumerate(results)]
    note_seen(switch)
    return results


def _reject(raw: bytes, result: Result) -> Reject:
    return Reject(Quarantined.Kind.CDR, raw, Refusal(result.code, result.message), session_id=result.id)


def settle(switch: Switch, documents: Sequence[Document]) -> list[Result]:
    """Writes what can be written, and answers for each in the same order. Keeping what is rejected is the caller's."""
    finder = TenantFinder()
    results: dict[int, Result] = {}
    by_tenant: dict[int, tuple[Tenant, dict[int, _Call]]] = {}
    for index, document in enumerate(documents):
        session_id = ""
        try:
            if document.fault:
                raise CallEventError("malformed_json", document.fault)
            session_id = call_cdr.session_id_of(document.value)
            place = _place(finder, document.value)
        except CallEventError as error:
            results[index] = Result(session_id, "rejected", error.code, error.message)
            continue
        if isinstance(place, Refusal):
            results[index] = _refused(session_id, place)
        else:
            by_tenant.setdefault(place.pk, (place, {}))[1][index] = _Call(session_id, document.value)
    for tenant, calls in by_tenant.values():
        with in_schema(tenant.schema_name):
            written = _write(switch, tenant, list(calls.values()))
        results |= dict(zip(calls, written, strict=True))
    return [results[index] for index in range(len(documents))]


def _place(finder: TenantFinder, document: dict[str, Any]) -> Tenant | Refusal:
    domains, did, trunk = call_cdr.addresses_of(document)
    for domain in domains:
        if domain and (tenant := finder.at(domain)) is not None:
            return open_tenant(tenant)
    return open_tenant(finder.at(did=did, trunk=trunk))


def _write(switch: Switch, tenant: Tenant, calls: Sequence[_Call]) -> list[Result]:
    """One transaction for all of them; only when it fails each goes by itself, so that the bad one is found."""
    try:
        return _write_together(switch, tenant, calls)
    except OperationalError:
        raise  # the database is away or overloaded: no document is to blame, the switch sends them again
    except Exception:  # whatever one document did must not reach its neighbours
        if len(calls) == 1:
            log.exception("cdr not written", tenant=tenant.schema_name, session_id=calls[0].session_id)
            return [_refused(calls[0].session_id, BROKEN)]
        log.warning("cdrs are written one by one", tenant=tenant.schema_name, cdrs=len(calls), exc_info=True)
    return [_write(switch, tenant, [call])[0] for call in calls]


def _write_together(switch: Switch, tenant: Tenant, calls: Sequence[_Call]) -> list[Result]:
    terms = ledger.terms_of(tenant)
    numbers = {number for call in calls for number in _numbers(call)}
    extensions = frozenset(Extension.objects.filter(number__in=numbers).values_list("number", flat=True))
    latest = timezone.now() + MOST_AHEAD
    answers: list[Result] = []
    records: dict[str, Record] = {}
    for call in calls:
        answer = Result(call.session_id, "duplicate")
        if call.session_id not in records:
            try:
                records[call.session_id] = _in_time(call_cdr.read(call.document, extensions, terms.rates), latest)
                answer = Result(call.session_id, "applied")
            except CallEventError as error:
                answer = Result(call.session_id, "rejected", error.code, error.message)
        answers.append(answer)
    own = Route(switch.pk, tenant.pk)
    with transaction.atomic():
        taken = claim(switch.pk, tenant.pk, records)
        ledger.write(tenant, switch.pk, [record for session_id, record in records.items() if session_id not in taken])
    return [_final(answer, taken, own) for answer in answers]


def _final(answer: Result, taken: dict[str, Route], own: Route) -> Result:
    """A session this switch told before has its record, or its events will write it."""
    route = taken.get(answer.id)
    if answer.status == "rejected" or route is None:
        return answer
    return Result(answer.id, "duplicate") if route == own else _refused(answer.id, CONFLICT)


def _in_time(record: Record, latest: datetime) -> Record:
    if record.ended_time > latest:
        raise CallEventError(IN_FUTURE.code, IN_FUTURE.message)
    return record


def _numbers(call: _Call) -> set[str]:
    try:
        return call_cdr.numbers_of(call.document)
    except CallEventError:
        return set()  # read again, and answered for, when its record is made


def _refused(session_id: str, refusal: Refusal) -> Result:
    return Result(session_id, "rejected", refusal.code, refusal.message)
