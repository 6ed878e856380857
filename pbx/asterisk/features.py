"""The feature codes as Asterisk's features.conf has them. What a code means is the tenant's affair, not Asterisk's."""

from collections.abc import Iterable

_HEAD = """\
; Voxledger: the feature codes to start, stop, pause and resume a recording, as the tenants have set them. They only
; tell the portal; whether and what is recorded stays its decision. When a code was changed, `manage.py
; asterisk_features` writes this file anew; then `asterisk -rx 'module reload features'`.
; Add `#include voxledger/features.conf` at the end of features.conf; its [applicationmap] must stand above.
; `self/both`: either party may dial, and the event names the channel of the one who did. The other party does not hear
; the tones.
[applicationmap](+)
"""
_CODE = 'voxledger-{number} => {code},self/both,UserEvent,"VoxledgerFeature,Code: {code},SessionId: ${{SESSIONID}}"\n'
_GROUP = "; What DYNAMIC_FEATURES names in extensions.conf.\n[voxledger]\n"


def features_conf(codes: Iterable[str]) -> str:
    numbered = list(enumerate(sorted(set(codes)), start=1))
    lines = [_CODE.format(number=number, code=code) for number, code in numbered]
    group = [f"voxledger-{number} => {code}\n" for number, code in numbered]
    return "".join([_HEAD, *lines, "\n", _GROUP, *group])


def undiallable(codes: Iterable[str]) -> list[tuple[str, str]]:
    """Codes that nobody can dial, because Asterisk obeys a shorter one as soon as it is complete; with that one."""
    ordered = sorted(set(codes))
    return [(code, other) for code in ordered for other in ordered if code != other and code.startswith(other)]
