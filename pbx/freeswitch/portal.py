"""What this connector alone asks of the portal, all of it in the database: run these in a thread of their own."""

from collections.abc import Sequence
from pathlib import Path

import structlog
from django.db.models import Q

from pbx.connectors.orders import Key
from pbx.connectors.portal import give_file
from pbx.freeswitch.names import Trunks
from pbx.freeswitch.takes import Take, still_running
from tenants.models import Switch, SwitchCommand, Trunk

log = structlog.get_logger(__name__)


def trunks_of(switch_id: int) -> Trunks:
    """The trunks of this switch, and those that are bound to none."""
    rows = list(Trunk.objects.filter(Q(switch_id=switch_id) | Q(switch=None)).order_by("-switch_id"))
    return Trunks(
        names={trunk.switch_name or trunk.name: trunk.name for trunk in rows},
        hosts={trunk.host: trunk.name for trunk in rows if trunk.host},
    )


def takes_running(switch: Switch, session_ids: Sequence[str]) -> list[Take]:
    """What an earlier connector was recording in calls that still go on."""
    rows = SwitchCommand.objects.filter(switch=switch, session_id__in=session_ids).order_by("id")
    return still_running(rows.iterator())


def hand_over(switch: Switch, key: Key, path: Path) -> bool:
    """Gives a segment's file to the portal. True: nobody needs it on FreeSWITCH any longer; False: it is not ours."""
    recording_id, segment = key
    told = SwitchCommand.objects.filter(switch=switch, recording_id=recording_id, segment=segment)
    if not told.filter(command=SwitchCommand.Command.START).exists():
        log.info("file is of no recording of this switch", file=path.name)
        return False
    content_type = "video/mp4" if path.suffix == ".mp4" else "audio/wav"
    give_file(switch, key, path, content_type=content_type, needless={"recording_deleted", "empty_file"})
    return True
