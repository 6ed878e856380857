"""Launches calls on an Asterisk: the extension's phones ring, and who answers goes through its own dialplan."""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from cdr.callevent_json import clean_name
from cdr.callevents import Party, PartyKind
from pbx.asterisk import causes
from pbx.asterisk.ami import Message, text
from pbx.asterisk.manager import ActionRefusedError, Ami, AmiError
from pbx.asterisk.state import Launched
from pbx.connectors.orders import Launch, Order, Outcome

CONTEXT = "voxledger-launch"  # deploy/asterisk/extensions.conf
OUT_OF_REACH = "The portal has no connection to Asterisk at the moment."
NOT_KNOWN = "The connection to Asterisk broke: whether the phone rings is not known."
HANDED_OUT = "It is not known whether an earlier connector launched this call."
UNFIT = "The extension, its domain or the number holds what no Asterisk could be told."
NO_DIALPLAN = f"Asterisk's dialplan has no [{CONTEXT}]: take deploy/asterisk/extensions.conf anew."
RINGS_WITHIN = 5.0  # seconds; a phone that takes longer to say so is being called all the same
RING_FOR = 30  # seconds
_WORD = re.compile(r"[0-9A-Za-z*#+._-]{1,64}")  # nothing that means something in an action or the dialplan
_SESSION = re.compile(r"[0-9A-Za-z._-]{1,64}")
_DOMAIN = re.compile(r"[0-9A-Za-z.-]{1,253}")
UNROUTED = "voxledger-unknown"  # the context of numbers that lead nowhere
_RINGS = ("5", "6")  # the states of a channel that rings, or was answered
_WHY_NOT = {
    "0": "Asterisk cannot reach a phone of the extension {}.",
    "5": "The extension {} is busy.",
}  # by the reason that Asterisk gives where no channel came to be
_BY_STATUS = {
    486: "The extension {} is busy.",
    600: "The extension {} is busy.",
    603: "The phone of the extension {} declined.",
    408: "The phone of the extension {} does not answer.",
}

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Call:
    """The phones that are being rung for a session."""

    phones: set[str]  # the Uniqueids that their channels have, or will have
    rings: asyncio.Future[str]  # why it does not, as a sentence; nothing when it does


class Launcher:
    """`is_live` says whether a session is in progress already; `expect` is told whose channel will be a launched call's
    caller, and whom it is for."""

    def __init__(self, is_live: Callable[[str], bool], expect: Callable[[str, Launched], None]) -> None:
        self._is_live = is_live
        self._expect = expect
        self._ami: Ami | None = None
        self._calls: dict[str, _Call] = {}  # by session, until a phone was answered or none rings any more
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, ami: Ami) -> None:
        self._ami = ami

    def disconnect(self) -> None:
        self._ami = None
        for call in self._calls.values():
            if not call.rings.done():
                call.rings.set_exception(AmiError(NOT_KNOWN))
        self._calls.clear()

    async def launch(self, order: Order, launch: Launch) -> Outcome:
        """Done as soon as a phone rings; never to be given again, for that could ring it twice."""
        if self._is_live(order.session_id):
            return Outcome()
        if order.was_handed_out:
            return Outcome(HANDED_OUT)
        words = (launch.caller, launch.callee)
        if not (all(map(_WORD.fullmatch, words)) and _DOMAIN.fullmatch(launch.domain)):
            return Outcome(UNFIT)
        if self._ami is None or not _SESSION.fullmatch(order.session_id):
            return Outcome(OUT_OF_REACH if self._ami is None else UNFIT)
        try:
            return Outcome(await self._launch(self._ami, order.session_id, launch))
        except ActionRefusedError as error:
            return Outcome(str(error))
        except AmiError:
            return Outcome(NOT_KNOWN)

    async def forget(self, order: Order) -> None:
        """Hangs up on what nobody waits for any longer."""
        if call := self._calls.pop(order.session_id, None):
            await self._hang_up(call.phones)

    # --- What Asterisk tells ---------------------------------------------------------------------------------

    def hear(self, message: Message) -> None:
        """How the phones take it."""
        match text(message, "Event"):
            case "Newstate" if text(message, "ChannelState") in _RINGS:
                call = self._call_of(text(message, "Uniqueid"))
                if call and not call.rings.done():
                    call.rings.set_result("")
            case "UserEvent" if text(message, "UserEvent") == "VoxledgerLaunch":
                self._take_up(text(message, "Uniqueid"))
            case "Hangup":
                status = causes.sip_status(text(message, "TechCause")) or causes.status_of_cause(text(message, "Cause"))
                otherwise = f"No phone of the extension {{}} could be called (SIP {status})."
                self._lose(text(message, "Uniqueid"), _BY_STATUS.get(status, otherwise))
            case "OriginateResponse" if text(message, "Response") == "Failure":
                reason = text(message, "Reason")
                self._lose(text(message, "ActionID"), _WHY_NOT.get(reason, "Asterisk could not ring the extension {}."))

    def _call_of(self, uniqueid: str) -> _Call | None:
        call = self._calls.get(_session_of(uniqueid))
        return call if call and uniqueid in call.phones else None

    def _take_up(self, uniqueid: str) -> None:
        """This phone was answered first: the others need not ring any longer."""
        if call := self._call_of(uniqueid):
            del self._calls[_session_of(uniqueid)]
            task = asyncio.get_running_loop().create_task(self._hang_up(call.phones - {uniqueid}))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _lose(self, uniqueid: str, why: str) -> None:
        call = self._call_of(uniqueid)
        if call is None:
            return
        call.phones.discard(uniqueid)
        if not call.phones:
            del self._calls[_session_of(uniqueid)]
            if not call.rings.done():
                call.rings.set_result(why)

    # --- What it is asked ------------------------------------------------------------------------------------

    async def _launch(self, ami: Ami, session_id: str, launch: Launch) -> str:
        """Why it cannot, as a sentence; nothing when it rings."""
        endpoint = f"{launch.caller}@{launch.domain}"
        context = await _value(ami, f"PJSIP_ENDPOINT({endpoint},context)")
        if not context:
            return f"Asterisk knows no endpoint {endpoint}."
        contacts = [each for each in (await _value(ami, f"PJSIP_DIAL_CONTACTS({endpoint})")).split("&") if each]
        if not contacts:
            return f"No phone of the extension {launch.caller} is registered."
        if await _value(ami, f"DIALPLAN_EXISTS({CONTEXT},s,1)") != "1":
            return NO_DIALPLAN
        route = await _route(ami, context, launch.callee)
        if route is None:
            return f"Asterisk has no route to {launch.callee} for the extension {launch.caller}."
        if route is PartyKind.EXTERNAL and await _value(
            ami, f"PJSIP_ENDPOINT({launch.callee}@{launch.domain},context)"
        ):
            route = PartyKind.EXTENSION
        name = (await _value(ami, f"PJSIP_ENDPOINT({endpoint},callerid)")).partition("<")[0].strip(' "')
        callee = Party(launch.callee, route)
        launched = Launched(session_id, clean_name(name), callee, launch.user_data, launch.domain)
        return (await self._ring(ami, launched, launch, contacts, context)).format(launch.caller)

    async def _ring(self, ami: Ami, launched: Launched, launch: Launch, contacts: list[str], context: str) -> str:
        phones = {f"{launched.session_id}-{number}": contact for number, contact in enumerate(contacts, start=1)}
        call = self._calls[launched.session_id] = _Call(set(phones), asyncio.get_running_loop().create_future())
        for uniqueid, contact in phones.items():
            self._expect(uniqueid, launched)
            try:
                await ami.ask(
                    "Originate", ActionID=uniqueid, **_originate(launched, launch, uniqueid, contact, context)
                )
            except ActionRefusedError as error:
                self._lose(uniqueid, str(error))
        try:
            async with asyncio.timeout(RINGS_WITHIN):
                return await call.rings
        except TimeoutError:
            return ""

    async def _hang_up(self, phones: Iterable[str]) -> None:
        for uniqueid in phones:
            try:
                if self._ami is not None:
                    await self._ami.ask("Hangup", Channel=uniqueid)
            except AmiError as error:
                log.info("phone of a launched call was not hung up", channel=uniqueid, reason=str(error))


async def _value(ami: Ami, function: str) -> str:
    """What a function of the dialplan says outside of any call."""
    return text(await ami.ask("Getvar", Variable=function), "Value")


async def _route(ami: Ami, context: str, number: str) -> PartyKind | None:
    """Whom the dialplan leads to, as far as it can be seen; None when it leads nowhere."""
    if await _value(ami, f"DIALPLAN_EXISTS({context},{number},1)") != "1":
        return None
    steps = await ami.list_all("ShowDialPlan", Context=context, Extension=number)
    routed = [step for step in steps if text(step, "Context") != UNROUTED]
    if steps and not routed:
        return None
    is_service = any(text(step, "AppData").startswith("voxledger-target,") for step in routed)
    return PartyKind.SERVICE if is_service else PartyKind.EXTERNAL


def _session_of(uniqueid: str) -> str:
    return uniqueid.rpartition("-")[0]


def _originate(launched: Launched, launch: Launch, uniqueid: str, contact: str, context: str) -> dict[str, str]:
    """The extension's phone shows the number that will be called."""
    variables = {
        "__SESSIONID": launched.session_id,
        "PJSIP_HEADER(add,X-Session-Id)": launched.session_id,
        "VOXLEDGER_ENDPOINT": f"{launch.caller}@{launch.domain}",
        "VOXLEDGER_CALLER": launch.caller,
        "VOXLEDGER_CONTEXT": context,
        "VOXLEDGER_NUMBER": launch.callee,
    }
    return {
        "Channel": contact,
        "ChannelId": uniqueid,
        "Context": CONTEXT,
        "Exten": "s",
        "Priority": "1",
        "CallerID": f"<{launch.callee}>",
        "Timeout": str(RING_FOR * 1000),
        "Async": "true",
        "Variable": ",".join(f"{name}={value}" for name, value in variables.items()),
    }
