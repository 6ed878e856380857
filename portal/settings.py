"""Every setting, flat. Only this file reads the environment; the defaults run on a bare machine.

`VOXLEDGER_ENV=production` turns the checks of `portal/checks.py` into refusals to start.
"""

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def _text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def _flag(name: str, *, default: bool) -> bool:
    value = _text(name, "1" if default else "0").lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}.")


def _number(name: str, default: int, *, low: int = 0, high: int = 2**31) -> int:
    value = _text(name, str(default))
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return int(value)


def _secret(name: str, file: Path, default: str) -> str:
    """From the environment, else from the file when there is one, else the default."""
    return _text(name) or _content(name, file) or default


def _content(name: str, file: Path) -> str:
    """Empty when there is no such file."""
    try:
        return file.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise ImproperlyConfigured(f"{name} cannot be read from {file}: {error.strerror}.") from error


def _list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in _text(name, default).split(",") if part.strip()]


def _networks(name: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(part, strict=False) for part in _list(name)]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be networks like 10.0.0.0/8, comma separated: {error}.") from error


def _prefixes(name: str) -> list[str]:
    found = _list(name)
    if wrong := [each for each in found if not re.fullmatch(r"\+?[0-9]{1,31}", each, re.ASCII)]:
        raise ImproperlyConfigured(f"{name} must be beginnings of numbers like 1900, by commas, not {wrong[0]!r}.")
    return found


def _choice(name: str, default: str, *allowed: str) -> str:
    value = _text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


# --- What kind of installation this is -------------------------------------------------------------------
VOXLEDGER_ENV = _choice("VOXLEDGER_ENV", "demo", "demo", "production")
PRODUCTION = VOXLEDGER_ENV == "production"
DEBUG = _flag("DEBUG", default=False)
VAR_DIR = Path(_text("VAR_DIR", str(BASE_DIR / "var"))).absolute()
# Signs sessions and encrypts what is secret. `manage.py up` makes the file on its first run, outside production.
SECRET_KEY_FILE = Path(_text("SECRET_KEY_FILE", str(VAR_DIR / "secret_key")))
DEMO_SECRET = "demo-secret-not-for-production"  # noqa: S105
SECRET_KEY = _secret("SECRET_KEY", SECRET_KEY_FILE, DEMO_SECRET)
# Encrypts credentials at rest and the keys of recordings. Several keys, newest first, separated by commas, in the file
# by lines; derived from SECRET_KEY when empty.
ENCRYPTION_KEYS_FILE = Path(_text("ENCRYPTION_KEYS_FILE", str(VAR_DIR / "encryption_keys")))
ENCRYPTION_KEYS = _list("ENCRYPTION_KEYS") or [
    key.strip() for key in _content("ENCRYPTION_KEYS_FILE", ENCRYPTION_KEYS_FILE).splitlines() if key.strip()
]
BIND = _text("BIND", "127.0.0.1")
PORT = _number("PORT", 8000, low=1, high=65535)
SIP_PORT = _number("SIP_PORT", 5090, low=1, high=65535)
WEB_PROCESSES = _number("WEB_PROCESSES", 1, low=1, high=64)
DEMO = _flag("DEMO", default=not PRODUCTION)  # `manage.py up` makes two demo tenants and runs the simulator
SIMULATOR_RATE = _number("SIMULATOR_RATE", 12, high=6000)  # demo calls a minute

# --- Hosts. The system host serves the public schema; a tenant's host is <name>.<TENANT_HOST_SUFFIX> ---
SYSTEM_HOST = _text("SYSTEM_HOST", "localhost")
TENANT_HOST_SUFFIX = _text("TENANT_HOST_SUFFIX", SYSTEM_HOST)
ALLOWED_HOSTS = _list("ALLOWED_HOSTS", f"{SYSTEM_HOST},.{TENANT_HOST_SUFFIX},127.0.0.1")
PUBLIC_SCHEME = _choice("PUBLIC_SCHEME", "https" if PRODUCTION else "http", "http", "https")
PUBLIC_PORT = _number("PUBLIC_PORT", 443 if PRODUCTION else PORT, low=1, high=65535)
CSRF_TRUSTED_ORIGINS = _list("CSRF_TRUSTED_ORIGINS")

# --- Rooms -------------------------------------------------------------------------------------------------
SHARED_APPS = [
    "django_tenants",
    "tenants",
    "accounts",
    "pbx",
    "recordings",  # in the public schema it keeps the files of which nobody knows whose they are
    "portal",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "template_partials",
    "channels",
]
TENANT_APPS = [
    "accounts",
    "events",
    "cdr",
    "recordings",
    "django.contrib.sessions",
    "axes",
]
INSTALLED_APPS = [*SHARED_APPS, *(app for app in TENANT_APPS if app not in SHARED_APPS)]
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
TENANT_LIMIT_SET_CALLS = True
PUBLIC_SCHEMA_URLCONF = "portal.urls_system"
ROOT_URLCONF = "portal.urls_tenant"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ASGI_APPLICATION = "portal.asgi.application"

MIDDLEWARE = [
    "portal.middleware.RequestLogMiddleware",
    "portal.middleware.HealthMiddleware",
    "portal.middleware.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "accounts.middleware.AuthenticationMiddleware",
    "accounts.middleware.CallsLeftMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.middleware.TimeZoneMiddleware",
    "portal.middleware.SlowQueryMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "portal.shell.shell",
            ],
        },
    }
]

# --- PostgreSQL. Empty DATABASE_URL means the embedded server that `manage.py up` runs under VAR_DIR -----
DATABASE_URL = _text("DATABASE_URL")
EMBEDDED_DATABASE = not DATABASE_URL
STATEMENT_TIMEOUT_MS = _number("STATEMENT_TIMEOUT_MS", 15_000)
LIST_TIMEOUT_MS = _number("LIST_TIMEOUT_MS", 5_000)


def _database(url: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "pool": {"min_size": 0, "max_size": _number("DATABASE_POOL_SIZE", 16, low=1, high=500), "timeout": 10},
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
        "connect_timeout": 5,
        "application_name": "voxledger",
    }
    found: dict[str, Any] = {
        "ENGINE": "django_tenants.postgresql_backend",
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,  # the pool hands out no connection that a restart of the server has ended
        "OPTIONS": options,
        "TEST": {"NAME": _text("TEST_DATABASE_NAME") or None},
    }
    if not url:
        return found | {"NAME": "voxledger", "USER": "voxledger", "HOST": str(VAR_DIR / "run" / "pg"), "PORT": "5432"}
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured("DATABASE_URL must look like postgres://user:password@host:5432/name.")
    try:
        port = parts.port
    except ValueError as error:
        raise ImproperlyConfigured("DATABASE_URL has a port that is no number.") from error
    return found | {
        "NAME": unquote(parts.path.lstrip("/")) or "voxledger",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        # A socket folder may be written as the percent-encoded host: postgres://user@%2Frun%2Fpg/name
        "HOST": unquote(parts.netloc.rpartition("@")[2].partition(":")[0])
        if "%2f" in parts.netloc.lower()
        else (parts.hostname or ""),
        "PORT": str(port or 5432),
    }


DATABASES = {"default": _database(DATABASE_URL)}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]

# --- Redis or Valkey. Empty means the embedded one ---------------------------------------------------------
REDIS_URL = _text("REDIS_URL")
EMBEDDED_REDIS = not REDIS_URL
REDIS_LOCATION = REDIS_URL or f"unix://{VAR_DIR / 'run' / 'valkey.sock'}"
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_LOCATION,
        "KEY_FUNCTION": "django_tenants.cache.make_key",
        "REVERSE_KEY_FUNCTION": "django_tenants.cache.reverse_key",
    }
}
CHANNEL_LAYERS = {
    # The core layer loses messages under load; the pub/sub layer did not. Either only wakes readers.
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_LOCATION], "prefix": "voxledger"},
    }
}

# --- Celery ------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_LOCATION.replace("unix://", "redis+socket://", 1)  # Celery's word for a socket
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "voxledger"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "portal.celery.Scheduler"
# Threads, not processes: a task mostly waits for the database or for somebody else's server.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = _number("WORKER_CONCURRENCY", 16, low=1, high=1000)
CELERY_WORKER_SEND_TASK_EVENTS = False

# --- People ------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "accounts.backends.PortalBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("username", "email", "display_name")},
    },
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
SESSION_COOKIE_NAME = "voxledger_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_NAME = "voxledger_csrf"
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_SCHEME == "https"
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "accounts.lockout.locked_out"
AXES_CLIENT_IP_CALLABLE = "accounts.lockout.client_ip"
AXES_USERNAME_CALLABLE = "accounts.lockout.username_of"
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True

# Addresses of reverse proxies whose X-Forwarded-For is believed, as networks.
TRUSTED_PROXIES = _networks("TRUSTED_PROXIES")

# --- Transport security ------------------------------------------------------------------------------------
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = _flag("SECURE_SSL_REDIRECT", default=PRODUCTION)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = _number("SECURE_HSTS_SECONDS", 31_536_000 if PRODUCTION else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_SECONDS > 0
SECURE_HSTS_PRELOAD = False
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _flag("BEHIND_PROXY", default=PRODUCTION) else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "media-src": ["'self'"],
        "connect-src": ["'self'"],
        # A form may lead from one of the portal's hosts to another: to the company's sign-in, into a tenant and back.
        "form-action": [
            "'self'",
            f"{PUBLIC_SCHEME}://{SYSTEM_HOST}:*",
            f"{PUBLIC_SCHEME}://*.{TENANT_HOST_SUFFIX}:*",
        ],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "manifest-src": ["'self'"],
    }
}

# --- What a webhook may reach ------------------------------------------------------------------------------
WEBHOOK_ALLOWED_NETWORKS = _networks("WEBHOOK_ALLOWED_NETWORKS")

# Where the worker finds the web server, for deliveries to a tenant's built-in catcher.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(BIND, BIND)  # noqa: S104 - looked up, not bound
WEB_ADDRESS = _text("WEB_ADDRESS", f"[{_LOOPBACK}]:{PORT}" if ":" in _LOOPBACK else f"{_LOOPBACK}:{PORT}")
if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}", WEB_ADDRESS):
    raise ImproperlyConfigured(f"WEB_ADDRESS must be a host and a port like 10.0.0.5:8000, not {WEB_ADDRESS!r}.")

# --- REST --------------------------------------------------------------------------------------------------
REST_CALLS_PER_MINUTE = _number("REST_CALLS_PER_MINUTE", 5000, low=1)  # of one API token
LAUNCHES_PER_MINUTE = _number("LAUNCHES_PER_MINUTE", 60, low=1)  # telephone calls that one token or person launches
TENANT_LAUNCHES_PER_MINUTE = _number("TENANT_LAUNCHES_PER_MINUTE", 300, low=1)  # that all of one tenant launch
LAUNCH_FORBIDDEN_PREFIXES = _prefixes("LAUNCH_FORBIDDEN_PREFIXES")  # numbers that no launched call may dial
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.callers.TokenAuthentication",
        "accounts.callers.BrowserAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.callers.Allowed"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["accounts.callers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "portal.openapi.Schema",
    "EXCEPTION_HANDLER": "accounts.rest.handle_error",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.1",  # the first that knows webhooks
    "TITLE": "Voxledger",
    "DESCRIPTION": "Call detail records, recordings and events of one tenant, or, on the system host, of all.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api(/v1|/switch/v1)?",
    "ENUM_NAME_OVERRIDES": {
        "SwitchKind": ["asterisk", "freeswitch", "http", "simulator"],
        "InboundRuleKind": ["did", "prefix"],
        "DeliveryState": "events.models.Delivery.State",
        "RedeliveryState": "events.models.Redelivery.State",
        "EventType": "events.types.EVENT_TYPES",
        "CallStatus": "cdr.models.CallStatus",
        "PartyKind": ["extension", "external", "service"],
        "RecordingMedium": "recordings.models.MEDIUM_CHOICES",
        "RecordingState": "recordings.models.Recording.State",
        "RecordingStep": ["start", "stop", "pause", "resume"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "events.contracts.add_webhooks",
        "portal.pages.api_docs.describe_errors",
        "portal.pages.api_docs.describe_rate_limit",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
SWITCH_EVENTS_MAX = 1000
SWITCH_BODY_MAX = 1024 * 1024
SWITCH_CDRS_BODY_MAX = 16 * 1024 * 1024
RECORDING_FILE_MAX = _number("RECORDING_FILE_MAX_MB", 2048, low=1, high=65_536) * 1024 * 1024
RECORDING_UPLOADS_MAX = _number("RECORDING_UPLOADS_MAX", 32, low=1, high=1000)  # at once, in each web process
RECORDING_UPLOAD_SECONDS = _number("RECORDING_UPLOAD_SECONDS", 3600, low=10, high=86_400)  # so long one may take
RECORDING_FILE_MINUTES = _number("RECORDING_FILE_MINUTES", 60, low=1, high=10_080)  # a file has, once its call is over
# Of files that belong to no segment; beyond it they are refused.
RECORDING_QUARANTINE_MAX = _number("RECORDING_QUARANTINE_MAX_MB", 10_240, high=10**6) * 1024 * 1024
RECORDING_QUARANTINE_DAYS = _number("RECORDING_QUARANTINE_DAYS", 30, low=1, high=3650)  # of files of no tenant

# --- Calls -------------------------------------------------------------------------------------------------
HOLD_SECONDS = 60  # an event may wait this long for its call.started
QUARANTINE_MAX = _number("QUARANTINE_MAX", 50_000, low=100, high=10**7)  # rejected things of a switch that may wait
CALL_SILENT_HOURS = _number("CALL_SILENT_HOURS", 12, low=1, high=720)  # then the reaper closes it as incomplete
SWITCH_SILENT_MINUTES = _number("SWITCH_SILENT_MINUTES", 60, low=1, high=10_080)  # then Home of the system says so

# --- Pages -------------------------------------------------------------------------------------------------
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = True
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
LOCALE_PATHS = [BASE_DIR / "locale"]
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
# --- Where recordings are kept -----------------------------------------------------------------------------
# For S3 too: files that are not whole yet wait here.
MEDIA_ROOT = Path(_text("MEDIA_ROOT", str(VAR_DIR / "recordings"))).absolute()
RECORDING_ENCRYPTION = _flag("RECORDING_ENCRYPTION", default=PRODUCTION)
RECORDING_STORE = _choice("RECORDING_STORE", "local", "local", "s3")
S3_BUCKET = _text("S3_BUCKET")
S3_ENDPOINT_URL = _text("S3_ENDPOINT_URL")
S3_REGION = _text("S3_REGION")
S3_ADDRESSING_STYLE = _choice("S3_ADDRESSING_STYLE", "auto", "auto", "path", "virtual")
S3_PREFIX = _text("S3_PREFIX")
S3_ACCESS_KEY = _text("S3_ACCESS_KEY")
S3_SECRET_KEY_FILE = Path(_text("S3_SECRET_KEY_FILE", str(VAR_DIR / "s3_secret_key")))
S3_SECRET_KEY = _secret("S3_SECRET_KEY", S3_SECRET_KEY_FILE, "")
# Somebody else serves what we do not encrypt: a web server in front of us, or the store itself.
X_ACCEL_PREFIX = _text("X_ACCEL_PREFIX")
S3_LINK_SECONDS = _number("S3_LINK_SECONDS", 0, high=3600)
if RECORDING_STORE == "s3" and not S3_BUCKET:
    raise ImproperlyConfigured("S3_BUCKET must name the bucket when RECORDING_STORE is s3.")
if X_ACCEL_PREFIX and RECORDING_STORE != "local":
    raise ImproperlyConfigured("X_ACCEL_PREFIX is for RECORDING_STORE=local; for s3 there is S3_LINK_SECONDS.")
if S3_LINK_SECONDS:  # then the browser is sent to the store
    _S3 = urlsplit(S3_ENDPOINT_URL or "https://amazonaws.com")
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["media-src"] += [
        f"{_S3.scheme}://{_S3.netloc}",
        f"{_S3.scheme}://*.{_S3.netloc}",
    ]


def _recordings_store() -> dict[str, Any]:
    if RECORDING_STORE == "local":
        return {"BACKEND": "recordings.stores.LocalStore"}
    options = {
        "bucket_name": S3_BUCKET,
        "endpoint_url": S3_ENDPOINT_URL or None,
        "region_name": S3_REGION or None,
        "addressing_style": S3_ADDRESSING_STYLE,
        "location": S3_PREFIX,
        "access_key": S3_ACCESS_KEY or None,  # without one the machine's own role is asked
        "secret_key": S3_SECRET_KEY or None,
    }
    return {"BACKEND": "recordings.s3.S3Store", "OPTIONS": options}


STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "portal.assets.Storage"},
    "recordings": _recordings_store(),
}
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
FORM_RENDERER = "django.forms.renderers.DjangoTemplates"

EMAIL_BACKEND = _text(
    "EMAIL_BACKEND",
    "django.core.mail.backends.smtp.EmailBackend" if PRODUCTION else "django.core.mail.backends.console.EmailBackend",
)
DEFAULT_FROM_EMAIL = _text("DEFAULT_FROM_EMAIL", f"voxledger@{SYSTEM_HOST}")

# --- Logs: one line a fact, `key=value` on a terminal, JSON elsewhere --------------------------------------
LOG_FORMAT = _choice("LOG_FORMAT", "json" if PRODUCTION else "console", "json", "console")
LOG_LEVEL = _choice("LOG_LEVEL", "INFO", "DEBUG", "INFO", "WARNING", "ERROR")
LOGGING_CONFIG = "portal.logs.configure"
LOGGING: dict[str, Any] = {"format": LOG_FORMAT, "level": LOG_LEVEL}  # Django passes an empty one to nobody

SILENCED_SYSTEM_CHECKS = ["auth.E003", "auth.W004"]
