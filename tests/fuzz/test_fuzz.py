"""The properties of `make fuzz` for a moment each, in every run of the tests."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.properties import PROPERTIES

briefly = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("fed", PROPERTIES, ids=lambda fed: fed.__name__)
def test_no_bytes_break_a_parser(fed: Callable[[], None]) -> None:
    briefly(fed)()
