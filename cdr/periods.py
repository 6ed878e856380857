"""The spans of time that lists offer by name, as days of the reader's zone."""

from datetime import date, datetime, time, timedelta, tzinfo

LABELS = {"today": "Today", "yesterday": "Yesterday", "7d": "Last 7 days", "month": "This month"}


def span_of(period: str, now: datetime) -> tuple[datetime | None, datetime | None]:
    """From (included) and to (not), both None for a name that is none. `now` is aware, in the reader's zone."""
    today = now.date()
    match period:
        case "today":
            return _midnight(today, now.tzinfo), None
        case "yesterday":
            return _midnight(today - timedelta(days=1), now.tzinfo), _midnight(today, now.tzinfo)
        case "7d":
            return _midnight(today - timedelta(days=6), now.tzinfo), None
        case "month":
            return _midnight(today.replace(day=1), now.tzinfo), None
    return None, None


def _midnight(day: date, zone: tzinfo | None) -> datetime:
    return datetime.combine(day, time(), zone)
