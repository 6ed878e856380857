"""The provider that all these tests share, and the phones that each puts up."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.edge.site import Site, running_site


@pytest.fixture(scope="session")
def provider() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture
async def site(provider: Site) -> AsyncIterator[Site]:
    """With no phones yet; those a test puts up are taken down again."""
    mine = replace(provider, phones=[])
    yield mine
    for phone in mine.phones:
        if phone.number != "1888722":
            with contextlib.suppress(Exception):  # what the test was about has been said by now
                await phone.register(expires=0)
        await phone.close()
