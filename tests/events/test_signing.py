"""Signatures, held against the published vector and the reference library."""

from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from events.signing import new_secret, signature


def test_published_vector() -> None:
    found = signature(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_library_verifies_with_either_secret_while_one_is_rotated() -> None:
    old, new, other = new_secret(), new_secret(), new_secret()
    body = '{"caller":"ü"}'
    timestamp = int(datetime.now(UTC).timestamp())
    headers = {
        "webhook-id": "7-1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature([new, old], "7-1", timestamp, body.encode()),
    }
    assert Webhook(new).verify(body, headers) == {"caller": "ü"}
    assert Webhook(old).verify(body, headers) == {"caller": "ü"}
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(body, headers)
