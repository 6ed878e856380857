"""The rules as tables: who is connected, what is switched on, what is decided and by which rule."""

from itertools import product

import pytest

from cdr.callevents import Medium, Party, PartyKind
from recordings.policy import Rule, Settings, Situation, Switches, Verdict, decide, told

E101 = Party("101", PartyKind.EXTENSION)
E102 = Party("102", PartyKind.EXTENSION)
CALLER = Party("1888722", PartyKind.EXTERNAL)
MOBILE = Party("5550199", PartyKind.EXTERNAL)
IVR = Party("5000", PartyKind.SERVICE)
OFF, BOTH = Switches(), Switches(audio=True, video=True)
AUDIO, VIDEO = Switches(audio=True), Switches(video=True)


def settings(tenant: Switches = OFF, *, external: bool = True, **users: Switches) -> Settings:
    return Settings(tenant, {name.removeprefix("u"): each for name, each in users.items()}, external)


@pytest.mark.parametrize(("tenant", "user"), list(product([False, True], repeat=2)))
@pytest.mark.parametrize("medium", ["audio", "video"])
def test_effective_is_tenant_or_user_for_each_medium_by_itself(medium: Medium, tenant: bool, user: bool) -> None:
    on = {"audio": AUDIO, "video": VIDEO}[medium]
    other = {"audio": VIDEO, "video": AUDIO}[medium]
    both = Situation([CALLER, E101], has_video=True, was_recording=False)
    verdict = decide(medium, both, settings(on if tenant else other, u101=on if user else other))
    expected = {
        (False, False): Verdict(False, Rule.SWITCHES_OFF),
        (False, True): Verdict(True, Rule.USER_SWITCH, "101"),
        (True, False): Verdict(True, Rule.TENANT_SWITCH),
        (True, True): Verdict(True, Rule.TENANT_SWITCH),
    }
    assert verdict == expected[tenant, user]


@pytest.mark.parametrize(
    ("switches", "has_video", "audio", "video"),
    [
        (OFF, True, False, False),
        (AUDIO, False, True, False),
        (AUDIO, True, True, False),  # WAV, even if the call is a video call
        (VIDEO, False, False, False),  # MP4 only if the call is a video call
        (VIDEO, True, False, True),
        (BOTH, False, True, False),
        (BOTH, True, True, True),
    ],
)
@pytest.mark.parametrize("level", ["tenant", "user"])
def test_wav_for_every_call_and_mp4_for_a_video_call(
    level: str, switches: Switches, has_video: bool, audio: bool, video: bool
) -> None:
    situation = Situation([E101, CALLER], has_video=has_video, was_recording=False)
    on = settings(switches) if level == "tenant" else settings(u101=switches)
    assert decide("audio", situation, on).record is audio
    assert decide("video", situation, on).record is video


# who is connected, was it recorded, on at the user, system switch on: is it recorded, by which rule
CASES = [
    ([], False, True, True, False, Rule.NOBODY_CONNECTED),
    ([], True, True, True, True, Rule.BETWEEN_PARTIES),
    ([CALLER, E101], False, False, True, False, Rule.SWITCHES_OFF),
    ([CALLER, E101], False, True, True, True, Rule.USER_SWITCH),
    ([CALLER, E101], True, False, True, False, Rule.SWITCHES_OFF),
    ([E102, E101], False, True, True, True, Rule.USER_SWITCH),  # between two extensions one switch is enough
    ([E101, IVR], False, True, True, True, Rule.USER_SWITCH),
    ([CALLER, IVR], False, True, True, False, Rule.NO_EXTENSION_YET),
    ([CALLER, IVR], True, True, False, True, Rule.BETWEEN_PARTIES),  # a service is neither internal nor external
    ([CALLER], True, True, False, True, Rule.BETWEEN_PARTIES),  # the agent has left, the mobile still rings
    ([CALLER, MOBILE], True, True, True, True, Rule.EXTERNAL_GOES_ON),
    ([CALLER, MOBILE], True, True, False, False, Rule.EXTERNAL_NUMBERS),
    ([CALLER, MOBILE, IVR], True, True, False, False, Rule.EXTERNAL_NUMBERS),
    ([CALLER, MOBILE], False, True, True, False, Rule.NO_EXTENSION_YET),  # a DID sent straight to a mobile
    ([CALLER, MOBILE], False, True, False, False, Rule.EXTERNAL_NUMBERS),
    ([CALLER, MOBILE, E101], False, True, False, True, Rule.USER_SWITCH),  # the internal party comes back
]  # fmt: skip


@pytest.mark.parametrize(("connected", "was_recording", "on", "external", "record", "rule"), CASES)
def test_who_is_connected_decides(
    connected: list[Party], was_recording: bool, on: bool, external: bool, record: bool, rule: Rule
) -> None:
    situation = Situation(connected, has_video=False, was_recording=was_recording)
    verdict = decide("audio", situation, settings(u101=AUDIO if on else OFF, external=external))
    assert verdict == Verdict(record, rule, "101" if rule is Rule.USER_SWITCH else "")


def test_the_tenants_switch_does_not_reach_a_call_that_is_nobodys() -> None:
    straight = Situation([CALLER, MOBILE], has_video=False, was_recording=False)
    assert decide("audio", straight, settings(BOTH)) == Verdict(False, Rule.NO_EXTENSION_YET)


@pytest.mark.parametrize(
    ("override", "connected", "external", "expected"),
    [
        ("start", [CALLER, E102], True, Verdict(True, Rule.STARTED_BY_HAND)),
        ("stop", [CALLER, E101], True, Verdict(False, Rule.STOPPED_BY_HAND)),
        ("start", [CALLER, MOBILE], False, Verdict(False, Rule.EXTERNAL_NUMBERS)),  # never against the system switch
        ("start", [CALLER, MOBILE], True, Verdict(True, Rule.STARTED_BY_HAND)),
        ("start", [CALLER, MOBILE, E102], False, Verdict(True, Rule.STARTED_BY_HAND)),
    ],
)
def test_a_persons_word_holds_but_never_against_the_system_switch(
    override: str, connected: list[Party], external: bool, expected: Verdict
) -> None:
    situation = Situation(connected, has_video=False, was_recording=True, override=override)  # type: ignore[arg-type]
    assert decide("audio", situation, settings(u101=AUDIO, external=external)) == expected


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("medium", ["audio", "video"])
def test_each_rule_is_told_in_a_sentence(medium: Medium, rule: Rule) -> None:
    sentence = told(medium, rule, "101")
    assert sentence.endswith(".")
    assert "ecorded" in sentence
    assert (rule is Rule.USER_SWITCH) == ("101" in sentence)
