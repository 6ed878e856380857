"""Structured logs: one line a fact, with the tenant and the session_id it is about."""

import logging
import logging.config
from typing import Any

import structlog


class OnlyAccidents(logging.Filter):
    """Django's own line on an answered 4xx or 503 adds nothing to `portal.request`; a traceback does."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is not None


def configure(wanted: dict[str, Any]) -> None:
    """Called by Django as LOGGING_CONFIG; both structlog's and the standard library's loggers end in one handler."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    as_json = wanted["format"] == "json"
    last: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=False, pad_event_to=32)]
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
                }
            },
            "filters": {"only_accidents": {"()": OnlyAccidents}},
            "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["console"], "level": wanted["level"]},
            "loggers": {
                "django.request": {"filters": ["only_accidents"]},
                "django.server": {"level": "WARNING"},
                "uvicorn.error": {"level": "WARNING"},  # its starting and stopping; the supervisor says that
                "celery": {"level": "WARNING"},  # each task received and done; a task says itself what it did
                "axes": {"level": "WARNING"},
            },
        }
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
