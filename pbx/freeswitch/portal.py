"""What this connector alone asks of the portal, all of it in the database: run these in a thread of their own."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import structlog
from django.db.models import Q

from pbx.connectors.orders import Key
from pbx.connectors.portal import NotTakenError
from pbx.freeswitch.names import Trunks
from pbx.freeswitch.takes import Take, still_running
from recordings import files
from tenants.models import Switch, SwitchCommand, Trunk

log = structlog.get_logger(__name__)

_CHUNK = 256 * 1024


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
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    try:
        with path.open("rb") as file:
            files.receive(
                switch,
                recording_id,
                segment,
                iter(lambda: file.read(_CHUNK), b""),
                content_type="video/mp4" if path.suffix == ".mp4" else "audio/wav",
                digests={"sha256": digest},
                expected_size=path.stat().st_size,
            )
    except files.FileRefusedError as error:
        if error.kept is None and error.code not in {"recording_deleted", "empty_file"}:
            raise NotTakenError(error.message) from error
        log.warning("file refused", recording=key, code=error.code, reason=error.message)
    return True
