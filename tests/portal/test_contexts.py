"""A request begins in no other request's context."""

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from portal.contexts import OwnContext


async def test_request_inherits_nothing_of_the_one_before_it() -> None:
    found: list[object] = []

    async def app(*_: object) -> None:
        found.append(SyncToAsync.thread_sensitive_context.get(None))

    async def nothing(*_: object) -> dict[str, object]:
        return {}

    async with ThreadSensitiveContext():
        assert SyncToAsync.thread_sensitive_context.get(None) is not None
        await OwnContext(app)({}, nothing, nothing)
    assert found == [None]
