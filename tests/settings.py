"""The portal's settings, made quick and quiet for tests."""

from portal.settings import *  # noqa: F403
from portal.settings import DATABASES, STORAGES

ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
SYSTEM_HOST = "portal.test"
TENANT_HOST_SUFFIX = "portal.test"
CELERY_BROKER_URL = "memory://"
DATABASES["default"]["OPTIONS"] |= {"pool": False}
