"""What Asterisk's names and causes say."""

import pytest

from cdr.callevents import EndReason
from pbx.asterisk import causes
from pbx.asterisk.names import Trunks, domain_of, endpoint_of, is_extension, is_local, number_dialled, uri_dialled


@pytest.mark.parametrize(
    ("channel", "endpoint"),
    [
        ("PJSIP/101@acme.test-0000001a", "101@acme.test"),
        ("PJSIP/AudioCodes-00000000", "AudioCodes"),
        ("PJSIP/my-trunk-00000001", "my-trunk"),
        ("PJSIP/", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_the_endpoint_of_a_channel(channel: str, endpoint: str) -> None:
    assert endpoint_of(channel) == endpoint


@pytest.mark.parametrize(
    ("endpoint", "is_one"),
    [
        ("101", True),
        ("101@acme.test", True),
        ("alice@acme.test", True),
        ("AudioCodes", False),
        ("sip-provider2", False),
        ("", False),
    ],
)
def test_an_extension_by_its_endpoint(endpoint: str, is_one: bool) -> None:
    assert is_extension(endpoint) is is_one


def test_a_trunk_has_the_portals_name() -> None:
    trunks = Trunks({"provider-2": "Second line"})
    assert (trunks.name_of("provider-2"), trunks.name_of("101")) == ("Second line", "")


def test_a_local_channel_is_nobodys() -> None:
    assert is_local("Local/103@acme-00000000;2")
    assert not is_local("PJSIP/103@acme.test-00000001")
    assert (domain_of("101@acme.test"), domain_of("AudioCodes")) == ("acme.test", "")


@pytest.mark.parametrize(
    ("dial_string", "number", "uri"),
    [
        ("5550199@AudioCodes", "5550199", ""),
        ("PJSIP/5550199@AudioCodes", "5550199", ""),
        ("+4930123@AudioCodes", "+4930123", ""),
        ("AudioCodes/sip:5550199@192.0.2.7:5060", "5550199", "sip:5550199@192.0.2.7:5060"),
        ("101@acme.test/sip:101@192.0.2.7:5060;ob", "101", "sip:101@192.0.2.7:5060"),
        ("101@acme.test/sips:101@[2001:db8::1]:5061;transport=tls", "101", "sips:101@[2001:db8::1]:5061"),
        ("AudioCodes", "", ""),
        ("", "", ""),
    ],
)
def test_what_was_dialled(dial_string: str, number: str, uri: str) -> None:
    assert (number_dialled(dial_string), uri_dialled(dial_string)) == (number, uri)


@pytest.mark.parametrize(
    ("dial_status", "status", "verdict"),
    [
        ("NOANSWER", 0, (EndReason.NONE, 408)),
        ("NOANSWER", 603, (EndReason.CALLEE_DISCONNECT, 603)),
        ("NOANSWER", 480, (EndReason.CALLEE_DISCONNECT, 480)),
        ("CHANUNAVAIL", 408, (EndReason.NONE, 408)),
        ("BUSY", 486, (EndReason.CALLEE_DISCONNECT, 486)),
        ("BUSY", 600, (EndReason.CALLEE_DISCONNECT, 600)),
        ("BUSY", 0, (EndReason.CALLEE_DISCONNECT, 486)),
        ("CANCEL", 302, (EndReason.REDIRECTED, 302)),
        ("CANCEL", 0, (EndReason.NONE, 0)),
        ("CONGESTION", 0, (EndReason.CALLEE_DISCONNECT, 503)),
        ("", 404, (EndReason.CALLEE_DISCONNECT, 404)),
    ],
)
def test_the_verdict_on_a_failed_dial(dial_status: str, status: int, verdict: tuple[EndReason, int]) -> None:
    assert causes.verdict(dial_status, status) == verdict


@pytest.mark.parametrize(
    ("tech_cause", "status"),
    [("486", 486), ("200", 0), ("", 0), ("700", 0), ("-1", 0), ("4\u0668\u0666", 0), ("16", 0), ("x", 0)],
)
def test_the_sip_status_of_a_hangup(tech_cause: str, status: int) -> None:
    assert causes.sip_status(tech_cause) == status


@pytest.mark.parametrize(("cause", "status"), [("1", 404), ("17", 486), ("20", 480), ("34", 503), ("", 480)])
def test_the_status_of_a_cause(cause: str, status: int) -> None:
    assert causes.status_of_cause(cause) == status
