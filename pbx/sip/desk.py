"""What a SIP MESSAGE that controls a recording is answered: who sent it, what it wants, and what became of it.

Only a connected extension of that very call may act, whatever From says. The answer is the truth: 200 is said once
the switch has confirmed. The replies are those of `docs/sip-control.md`.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.db.models.functions import Lower

from accounts.models import ExtensionCredential
from cdr import calls
from pbx.sip import media_control
from pbx.sip.digest import Credentials, MalformedError, Nonces, Proof, challenge, means, parse
from pbx.sip.guesses import MOST_GUESSES_NOTED, MOST_OF_AN_ADDRESS, Guesses, Noted
from pbx.sip.media_control import RefusedBodyError, Wish
from recordings import control
from recordings.books import Via
from recordings.ordered import Answer, wait_for
from tenants.changes import Actor, announce
from tenants.models import SessionRoute, SipDomain, Tenant
from tenants.schemas import in_schema

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 4.0  # so long the switch has to confirm; a phone gives up after 32 (RFC 3261, timer F)
WARNING_CODE = 399  # miscellaneous (RFC 3261 section 20.43)
_NAME_MAX = 64
_PHRASES = {400: "Bad Request", 413: "Request Entity Too Large", 415: "Unsupported Media Type"}
_NOBODYS_HA1 = secrets.token_hex(16)  # an unknown extension takes as long to refuse as a wrong password


@dataclass(frozen=True, slots=True)
class Message:
    """A MESSAGE as far as it matters here. Domains are the host parts of its URIs."""

    request_uri: str
    request_domain: str
    from_domain: str
    call_id: str
    is_in_dialog: bool  # To has a tag
    content_types: tuple[str, ...]
    body: bytes
    authorization: str  # of Proxy-Authorization, else of Authorization; "" when there is neither
    source: str  # the address it came from
    edge_domain: str = ""  # that an edge tells: a phone that is called is not named by its SIP domain in the dialog


@dataclass(frozen=True, slots=True)
class Reply:
    code: int
    phrase: str
    warning: str = ""
    challenge: tuple[str, str] | None = None  # a header's name and value
    retry_after: int = 0  # seconds


class RefusedError(Exception):
    def __init__(self, code: int, phrase: str, warning: str = "", *, retry_after: int = 0) -> None:
        super().__init__(phrase)
        self.reply = Reply(code, phrase, warning, retry_after=retry_after)


class Desk:
    """Answers messages, one at a time or many in threads."""

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._nonces, self._guesses, self._clock = Nonces(key), Guesses(), clock
        self._noted, self._noted_guesses = Noted(), Noted(MOST_OF_AN_ADDRESS, MOST_GUESSES_NOTED)

    def answer(self, message: Message) -> Reply:
        with in_schema("public"):
            try:
                return self._answer(message)
            except RefusedError as refused:
                return refused.reply

    def _answer(self, message: Message) -> Reply:
        if not message.authorization:
            return self._challenged(message)
        credentials = self._read(message)
        tenant = _tenant_of(credentials.realm)
        if tenant is None:
            self._note_once(None, message, credentials.username, "unknown realm", 403)
            raise RefusedError(403, "Forbidden", "The realm is no SIP domain of ours")
        self._slow_down(tenant, message, credentials)
        with in_schema(tenant.schema_name), structlog.contextvars.bound_contextvars(tenant=tenant.schema_name):
            proof = self._nonces.prove(
                credentials, _ha1(credentials), "MESSAGE", source=message.source, now=self._clock()
            )
            if proof is Proof.STALE:
                reply = self._challenged(message, realm=credentials.realm, stale=True)
                self._note_once(tenant, message, credentials.username, "stale nonce", reply.code)
                return reply
            actor = _phone(credentials.username, message)
            if proof is Proof.WRONG:
                self._guesses.note(message.source, _account(credentials), self._clock())
                reply = self._challenged(message, realm=credentials.realm)
                left_out = self._noted_guesses.left_out(self._clock(), tenant.schema_name, message.source)
                if left_out is not None:
                    _note(actor, reply.code, cause="wrong password", left_out=left_out)
                return reply
            return _acted(tenant, actor, message)

    def _read(self, message: Message) -> Credentials:
        try:
            credentials = parse(message.authorization)
            if not means(credentials.uri, message.request_uri):
                raise MalformedError("The digest's uri is not that of the request")
        except MalformedError as error:
            tenant = _tenant_of(message.from_domain) or _tenant_of(message.request_domain)
            self._note_once(tenant, message, "", "malformed credentials", 400)
            raise RefusedError(400, "Bad Request", str(error)) from error
        return credentials

    def _slow_down(self, tenant: Tenant, message: Message, credentials: Credentials) -> None:
        if wait := self._guesses.wait_of(message.source, _account(credentials), self._clock()):
            self._note_once(tenant, message, credentials.username, "too many wrong passwords", 403)
            raise RefusedError(403, "Forbidden", "Too many wrong passwords: wait", retry_after=wait)

    def _note_once(self, tenant: Tenant | None, message: Message, username: str, cause: str, code: int) -> None:
        """Who goes on and on fills no trail: the same again is noted a minute later. Of no tenant: in the system's."""
        schema = tenant.schema_name if tenant else "public"
        left_out = self._noted.left_out(self._clock(), schema, message.source, cause)
        if left_out is not None:
            with in_schema(schema):
                _note(_phone(username, message), code, cause=cause, left_out=left_out)

    def _challenged(self, message: Message, *, realm: str = "", stale: bool = False) -> Reply:
        """407 from the proxy of a domain; 401 when the request names this listener itself."""
        is_ours = _tenant_of(message.request_domain) is not None
        named = (message.from_domain, message.request_domain, message.edge_domain)
        realm = realm or next((each for each in named if _tenant_of(each)), "")
        if not realm:
            raise RefusedError(403, "Forbidden", "Neither From nor the request names a SIP domain of ours")
        told = challenge(realm.lower(), self._nonces.new(message.source, self._clock()), stale=stale)
        if is_ours:
            return Reply(407, "Proxy Authentication Required", challenge=("Proxy-Authenticate", told))
        return Reply(401, "Unauthorized", challenge=("WWW-Authenticate", told))


def _phone(username: str, message: Message) -> Actor:
    """As the audit trail names it; whoever is not proven may call himself anything."""
    return Actor(kind="phone", name=username[:_NAME_MAX] or "unknown", address=message.source)


def _account(credentials: Credentials) -> str:
    return f"{credentials.username}@{credentials.realm.lower()}"


def _tenant_of(domain: str) -> Tenant | None:
    if not domain:
        return None
    with in_schema("public"):
        rows = SipDomain.objects.annotate(plain=Lower("domain")).filter(plain=domain.lower())
        found = rows.filter(tenant__state=Tenant.State.ACTIVE).select_related("tenant").first()
    return found.tenant if found else None


def _ha1(credentials: Credentials) -> str:
    rows = ExtensionCredential.objects.filter(
        extension__number=credentials.username, extension__enabled=True, realm__iexact=credentials.realm
    )
    return rows.values_list("ha1", flat=True).first() or _NOBODYS_HA1


def _acted(tenant: Tenant, actor: Actor, message: Message) -> Reply:
    command, session_id = "", ""
    try:
        wish = _wish_of(message)
        command, session_id = wish.command, _session_of(wish, message, actor.name)
        reply = _obeyed(tenant, actor, wish, session_id)
    except RefusedError as refused:
        reply = refused.reply
    _note(actor, reply.code, session_id=session_id, command=command, cause=reply.warning)
    return reply


def _wish_of(message: Message) -> Wish:
    try:
        return media_control.read(message.content_types, message.body, in_dialog=message.is_in_dialog)
    except RefusedBodyError as error:
        raise RefusedError(error.code, _PHRASES[error.code], error.message) from error


def _session_of(wish: Wish, message: Message, extension: str) -> str:
    if not message.is_in_dialog:
        return wish.session_id
    found = calls.session_with_call_id(message.call_id, extension)
    if found is None:
        raise RefusedError(404, "Not Found", "There is no call in progress with this Call-ID")
    if wish.session_id and calls.root_of(wish.session_id) != found:
        raise RefusedError(400, "Bad Request", "The dialog is that of another session")
    return found


def _obeyed(tenant: Tenant, actor: Actor, wish: Wish, session_id: str) -> Reply:
    operation, medium = media_control.COMMANDS[wish.command]
    try:
        ordered = control.command(
            tenant, session_id, operation, [medium], actor=actor, via=Via.SIP_MESSAGE, as_extension=actor.name
        )
    except control.NoSuchCallError as error:
        if _is_somebody_elses(tenant, session_id):
            raise RefusedError(403, "Forbidden", control.NotAPartyError().message) from error
        raise RefusedError(404, "Not Found", error.message) from error
    except control.NotRecordingError as error:
        raise RefusedError(488, "Not Acceptable Here", error.message) from error
    except control.ControlError as error:
        raise RefusedError(403, "Forbidden", error.message) from error
    return _reply_of(wait_for(ordered, PATIENCE_SECONDS))


def _reply_of(answer: Answer) -> Reply:
    if answer.status == "done":
        return Reply(200, "OK")
    if answer.status == "failed":
        return Reply(488, "Not Acceptable Here", f"The switch could not: {answer.reason}")
    if not answer.is_taken:
        return Reply(480, "Temporarily Unavailable", "The switch is out of reach")
    return Reply(504, "Server Time-out", "The switch did not confirm in time")


def _is_somebody_elses(tenant: Tenant, session_id: str) -> bool:
    """Who is no party of a call gets 403, whichever tenant it belongs to; ids of calls are no secret to guess at."""
    with in_schema("public"):
        return SessionRoute.objects.filter(session_id=session_id).exclude(tenant_id=tenant.pk).exists()


def _note(
    actor: Actor, code: int, *, session_id: str = "", command: str = "", cause: str = "", left_out: int = 0
) -> None:
    """The code is the one that went out; the cause says why it is no 200."""
    told = {"command": command, "code": code, "cause": cause} | ({"left_out": left_out} if left_out else {})
    announce(
        actor, "recording.sip_message", subject=session_id or "no session", subject_id=session_id,
        after=told,
    )  # fmt: skip
    log.info("sip message answered", session_id=session_id, extension=actor.name, **told)
