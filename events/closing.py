"""Why a socket is closed: the codes of `/wsi`, as `docs/websocket.md` lists them. 4404 is `portal.sockets`'."""

from enum import IntEnum


class CloseCode(IntEnum):
    UNSUPPORTED_DATA = 1003  # a binary message
    TOO_BIG = 1009  # a message above the limit
    SERVER_ERROR = 1011
    TRY_AGAIN = 1013  # the database is away, or the log was pruned under the reader
    AUTH_TIMEOUT = 4001
    AUTH_FAILED = 4002  # too many wrong attempts on this connection
    REVOKED = 4003  # the token, the password or the permission is no longer good
    TENANT_NOT_ACTIVE = 4004
    TOO_SLOW = 4008  # the reason is {"cursor":"<event id>"}: subscribe again with it as `since`
    TOO_MANY_MESSAGES = 4028
    TOO_MANY_CONNECTIONS = 4029
    WRONG_ORIGIN = 4403  # a browser's page of another host; refused before the handshake is done
    NO_SUCH_SOCKET = 4405  # another path than /wsi
