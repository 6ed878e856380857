"""Answers SIP MESSAGEs that control recordings, until it is told to stop: `manage.py sip_control`."""

import secrets
import signal
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from pbx.sip.desk import Desk
from pbx.sip.listener import Listener

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Listens for SIP MESSAGE over UDP on SIP_PORT: pauses and resumes recordings by the word of a phone."

    def handle(self, *args: Any, **options: Any) -> None:
        # A key of this process alone: after a restart a phone is challenged once more, and nobody notices.
        desk = Desk(secrets.token_bytes(32))
        try:
            listener = Listener(desk.answer, settings.BIND, settings.SIP_PORT)
        except OSError as error:
            where = f"UDP port {settings.SIP_PORT} of {settings.BIND}"
            raise CommandError(f"{where} cannot be opened: {error.strerror}. SIP_PORT chooses another.") from error
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: listener.stop())
        log.info("sip control listens", address=settings.BIND, port=settings.SIP_PORT)
        listener.run()
