"""Range headers as the RFC has them, and as they should not be."""

import pytest

from recordings.ranges import Span, UnsatisfiableError, span_of


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-", Span(0, 1000)),
        ("bytes=0-0", Span(0, 1)),
        ("bytes=10-19", Span(10, 20)),
        ("bytes=990-5000", Span(990, 1000)),
        ("bytes=999-", Span(999, 1000)),
        ("bytes=-1", Span(999, 1000)),
        ("bytes=-5000", Span(0, 1000)),
        (" Bytes= 5-6 ", Span(5, 7)),
        (f"bytes=5-{'9' * 40}", Span(5, 1000)),
    ],
)
def test_one_range(header: str, span: Span) -> None:
    assert span_of(header, 1000) == span


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=1-2,4-5",
        "items=0-1",
        "bytes=٣-٤",
        "bytes=--1",
    ],
)
def test_what_is_no_single_range_is_the_whole(header: str) -> None:
    assert span_of(header, 1000) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", f"bytes={'9' * 40}-"])
def test_a_range_beyond_the_end(header: str) -> None:
    with pytest.raises(UnsatisfiableError):
        span_of(header, 1000)


def test_every_range_of_nothing_is_beyond_its_end() -> None:
    for header in ("bytes=0-", "bytes=-1"):
        with pytest.raises(UnsatisfiableError):
            span_of(header, 0)
