"""What a simulated call does: each flow is a script of events, with its times compressed to seconds. Pure."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pbx.simulator.world import OUTSIDERS, Number, World

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """An event, so many seconds after the call began. Its id and time are given when it is told."""

    after: float
    event: Document


@dataclass(slots=True)
class Script:
    """A call being written: `now` moves on, every verb adds an event at that moment."""

    world: World
    session_id: str
    dice: random.Random
    now: float = 0.0
    steps: list[Step] = field(default_factory=list)
    _targets: int = 0

    def tell(self, kind: str, **more: Any) -> None:
        self.steps.append(Step(self.now, {"type": kind, "session_id": self.session_id, **more}))

    def wait(self, shortest: float, longest: float) -> None:
        self.now += self.dice.uniform(shortest, longest)

    def colleagues(self, count: int) -> list[Number]:
        """Different extensions, as many as there are if fewer."""
        return self.dice.sample(list(self.world.extensions), min(count, len(self.world.extensions)))

    def whose(self, switch: Callable[[Number], bool]) -> Number:
        """An extension with that switch on, or any when none has it."""
        return self.dice.choice([each for each in self.world.extensions if switch(each)] or list(self.world.extensions))

    def outsider(self) -> Number:
        return Number(*self.dice.choice(OUTSIDERS))

    def start_inside(self, caller: Number, callee: Document, **more: Any) -> None:
        self.tell(
            "call.started",
            call_id=f"{self.session_id}@{self.world.domain}",
            domain=self.world.domain,
            caller=extension(caller) | {"domain": self.world.domain},
            callee=callee,
            **more,
        )

    def start_from_trunk(self, callee: Document) -> None:
        self.tell(
            "call.started",
            call_id=f"{self.session_id}@trunk.invalid",
            domain=self.world.domain,
            did=self.dice.choice(list(self.world.dids) or [""]),
            caller=external(self.outsider()) | {"domain": "192.0.2.16"},
            callee=callee,
            trunk=self.world.trunk,
        )

    def ring(self, callee: Document, **more: Any) -> str:
        """Adds a target that rings at once, and returns its id."""
        self._targets += 1
        target_id = f"{self.session_id}.{self._targets}"
        host = f"192.0.2.{20 + int(''.join(filter(str.isdigit, callee['number'][-2:])) or 0) % 200}:5060"
        self.tell(
            "target.added", target_id=target_id, callee=callee, destination=f"sip:{callee['number']}@{host}", **more
        )
        self.tell("target.ringing", target_id=target_id)
        return target_id

    def answer(self, target_id: str) -> None:
        self.tell("target.answered", target_id=target_id)

    def end(self, target_id: str, reason: str, status_code: int = 0) -> None:
        self.tell("target.ended", target_id=target_id, end_reason=reason, status_code=status_code)

    def finish(self, reason: str, status_code: int = 0) -> None:
        self.tell("call.ended", ended_reason=reason, status_code=status_code)

    def talk_and_hang_up(self, *target_ids: str) -> None:
        self.wait(4, 30)
        reason = self.dice.choice(["caller_disconnect", "callee_disconnect"])
        for target_id in target_ids:
            self.end(target_id, reason)
        self.finish(reason)


def extension(number: Number) -> Document:
    return {"number": number.number, "display_name": number.name, "kind": "extension"}


def external(number: Number) -> Document:
    return {"number": number.number, "display_name": number.name, "kind": "external"}


def service(number: Number) -> Document:
    return {"number": number.number, "display_name": number.name, "kind": "service"}


# --- The flows ---------------------------------------------------------------------------------------------


def colleague_calls_colleague(script: Script) -> None:
    caller, callee = script.colleagues(2)
    script.start_inside(caller, extension(callee))
    target = script.ring(extension(callee))
    script.wait(1, 4)
    script.answer(target)
    script.talk_and_hang_up(target)


def ivr_queue_and_two_agents(script: Script) -> None:
    """The specification's own example."""
    script.start_from_trunk(service(script.world.ivr))
    ivr = script.ring(service(script.world.ivr))
    script.answer(ivr)
    script.wait(3, 6)
    script.end(ivr, "referred")
    queue = script.ring(service(script.world.queue))
    script.answer(queue)
    script.wait(1, 2)
    agents = [script.ring(extension(agent)) for agent in script.colleagues(2)]
    script.wait(2, 5)
    script.dice.shuffle(agents)
    winner, *losers = agents
    script.answer(winner)
    script.end(queue, "referred")
    for loser in losers:
        script.end(loser, "None")
    script.wait(5, 30)
    script.end(winner, "None")
    script.finish(script.dice.choice(["callee_disconnect", "caller_disconnect"]))


def no_answer_then_forwarded(script: Script) -> None:
    first, second = script.colleagues(2)
    script.start_from_trunk(extension(first))
    target = script.ring(extension(first))
    script.wait(5, 8)
    script.end(target, "None", 408)
    target = script.ring(extension(second))
    script.wait(1, 3)
    script.answer(target)
    script.talk_and_hang_up(target)


def nobody_answers(script: Script) -> None:
    callee = script.colleagues(1)[0]
    script.start_from_trunk(extension(callee))
    target = script.ring(extension(callee))
    script.wait(8, 12)
    script.end(target, "None", 408)
    script.finish("None", 408)


def busy(script: Script) -> None:
    caller, callee = script.colleagues(2)
    script.start_inside(caller, extension(callee))
    target = script.ring(extension(callee))
    script.wait(0.5, 1)
    script.end(target, "callee_disconnect", 486)
    script.finish("callee_disconnect", 486)


def caller_gives_up(script: Script) -> None:
    callee = script.colleagues(1)[0]
    script.start_from_trunk(extension(callee))
    target = script.ring(extension(callee))
    script.wait(3, 8)
    script.end(target, "cancelled", 487)
    script.finish("cancelled", 487)


def unknown_number(script: Script) -> None:
    caller = script.colleagues(1)[0]
    script.start_inside(caller, extension(Number(str(script.dice.randint(600, 699)))))
    script.wait(0.2, 0.6)
    script.finish("None", 404)


def ring_group(script: Script) -> None:
    script.start_from_trunk(service(script.world.group))
    members = [script.ring(extension(each), call_type="ring_group_call") for each in script.colleagues(3)]
    script.wait(2, 5)
    script.dice.shuffle(members)
    winner, *losers = members
    script.answer(winner)
    for loser in losers:
        script.end(loser, "None")
    script.talk_and_hang_up(winner)


def blind_transfer(script: Script) -> None:
    first, second = script.colleagues(2)
    script.start_from_trunk(extension(first))
    target = script.ring(extension(first))
    script.wait(1, 3)
    script.answer(target)
    script.wait(4, 10)
    script.end(target, "referred")
    target = script.ring(extension(second))
    script.wait(1, 4)
    script.answer(target)
    script.talk_and_hang_up(target)


def caller_transfers_the_call_away(script: Script) -> None:
    caller, callee = script.colleagues(2)
    script.start_inside(caller, extension(callee))
    target = script.ring(extension(callee))
    script.wait(1, 3)
    script.answer(target)
    script.wait(4, 10)
    script.tell("caller.left", end_reason="blind_transfer_complete")
    queue = script.ring(service(script.world.queue), caller=extension(callee))
    script.answer(queue)
    script.talk_and_hang_up(target, queue)


def attended_transfer(script: Script) -> None:
    """The consultation is a session of its own until it is merged into the call."""
    first, second = script.colleagues(2)
    script.start_from_trunk(extension(first))
    leg = script.ring(extension(first))
    script.wait(1, 3)
    script.answer(leg)
    script.wait(3, 8)
    script.tell("party.held", leg="caller")
    consultation = Script(script.world, f"{script.session_id}7", script.dice, now=script.now)
    consultation.start_inside(first, extension(second))
    other = consultation.ring(extension(second))
    consultation.wait(1, 3)
    consultation.answer(other)
    consultation.wait(2, 5)
    consultation.tell("session.merged", into=script.session_id)
    script.steps += consultation.steps
    script.now = consultation.now
    script.tell("party.unheld", leg="caller")
    script.end(leg, "attended_transfer_complete")
    script.talk_and_hang_up(other)


def outbound(script: Script) -> None:
    caller, callee = script.colleagues(1)[0], Number(script.outsider().number)
    line = {"trunk": script.world.trunk, "outbound_caller_id": script.dice.choice(list(script.world.dids) or [""])}
    script.start_inside(caller, external(callee), **line)
    target = script.ring(external(callee), **line)
    script.wait(2, 6)
    script.answer(target)
    script.talk_and_hang_up(target)


def forwarded_to_a_mobile(script: Script) -> None:
    callee = script.colleagues(1)[0]
    mobile = Number("12025550188")
    script.start_from_trunk(extension(callee))
    target = script.ring(extension(callee))
    script.wait(0.5, 1)
    script.end(target, "redirected", 302)
    line = {"trunk": script.world.trunk, "outbound_caller_id": script.dice.choice(list(script.world.dids) or [""])}
    target = script.ring(external(mobile), **line)
    script.wait(2, 5)
    script.answer(target)
    script.talk_and_hang_up(target)


def recording_is_paused_for_a_card_number(script: Script) -> None:
    """By the feature codes, as an agent does it who must not keep what he is about to hear."""
    agent = script.whose(lambda each: each.records_audio)
    script.start_from_trunk(extension(agent))
    target = script.ring(extension(agent))
    script.wait(1, 3)
    script.answer(target)
    script.wait(5, 9)
    script.tell("feature.dialled", code=script.world.pause_code, leg=target)
    script.wait(4, 8)
    script.tell("feature.dialled", code=script.world.resume_code, leg=target)
    script.talk_and_hang_up(target)


def transferred_to_a_mobile(script: Script) -> None:
    """From then on both parties are external, and the system switch decides."""
    agent = script.whose(lambda each: each.records_audio)
    script.start_from_trunk(extension(agent))
    target = script.ring(extension(agent))
    script.wait(1, 3)
    script.answer(target)
    script.wait(5, 10)
    script.end(target, "referred")
    line = {"trunk": script.world.trunk, "outbound_caller_id": script.dice.choice(list(script.world.dids) or [""])}
    target = script.ring(external(Number("12025550188")), **line)
    script.wait(1, 4)
    script.answer(target)
    script.talk_and_hang_up(target)


def video_call(script: Script) -> None:
    callee = script.whose(lambda each: each.records_video)
    caller = next(each for each in script.colleagues(2) if each.number != callee.number)
    script.start_inside(caller, extension(callee), media=["audio", "video"])
    target = script.ring(extension(callee))
    script.wait(1, 4)
    script.answer(target)
    script.talk_and_hang_up(target)


def launched(script: Script, caller: Number, callee: str, user_data: str) -> None:
    """On the portal's word: the caller's own phone rings and is picked up, then the callee's."""
    world = script.world
    services = {each.number: each for each in (world.ivr, world.queue, world.group)}
    colleagues = {each.number: each for each in world.extensions}
    line: Document = {}
    if callee in colleagues:
        party = extension(colleagues[callee])
    elif callee in services:
        party = service(services[callee])
    else:
        party = external(Number(callee))
        line = {"trunk": world.trunk, "outbound_caller_id": script.dice.choice(list(world.dids) or [""])}
    script.start_inside(caller, party, user_data=user_data, **line)
    script.wait(1, 3)
    target = script.ring(party, **line)
    script.wait(1, 4)
    script.answer(target)
    script.talk_and_hang_up(target)


Flow = Callable[[Script], None]
WEIGHTS: dict[Flow, int] = {
    ivr_queue_and_two_agents: 6,
    colleague_calls_colleague: 5,
    outbound: 4,
    nobody_answers: 2,
    no_answer_then_forwarded: 2,
    caller_gives_up: 2,
    ring_group: 2,
    blind_transfer: 2,
    attended_transfer: 2,
    recording_is_paused_for_a_card_number: 2,
    transferred_to_a_mobile: 2,
    video_call: 2,
    busy: 1,
    unknown_number: 1,
    caller_transfers_the_call_away: 1,
    forwarded_to_a_mobile: 1,
}
_NEED_NO_TRUNK = {colleague_calls_colleague, video_call, busy, unknown_number, caller_transfers_the_call_away}
# So that a portal just started soon has each kind of recording to show.
SHOWN_FIRST = (recording_is_paused_for_a_card_number, video_call, transferred_to_a_mobile)


def write_call(world: World, session_id: str, dice: random.Random) -> list[Step]:
    """Some call of this tenant, in the order in which it happens."""
    possible = {flow: weight for flow, weight in WEIGHTS.items() if world.trunk or flow in _NEED_NO_TRUNK}
    flow = dice.choices(list(possible), list(possible.values()))[0]
    return script_of(flow, world, session_id, dice)


def script_of(flow: Flow, world: World, session_id: str, dice: random.Random) -> list[Step]:
    script = Script(world, session_id, dice)
    flow(script)
    return sorted(script.steps, key=lambda step: step.after)
