"""People and programs: users with their roles, extensions with their recording switches, API tokens, the audit trail.

The same tables stand in every schema; in the public one the users are system administrators and no extension exists.
"""

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.roles import GRANTS, Permission, Role


class UserManager(BaseUserManager["User"]):
    def create_user(self, username: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(username=username, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(username__iexact=username)


class User(AbstractBaseUser):
    """A person who signs in."""

    username = models.CharField(max_length=64)
    display_name = models.CharField(max_length=120, blank=True, default="")
    email = models.EmailField(blank=True, default="")
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.USER)
    is_active = models.BooleanField("active", default=True)
    time_zone = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        ordering = ["username"]
        constraints = [models.UniqueConstraint(Lower("username"), name="user_username_unique")]

    def __str__(self) -> str:
        return self.username

    def get_full_name(self) -> str:
        return self.display_name or self.username

    def may(self, permission: Permission) -> bool:
        return self.is_active and permission in GRANTS[Role(self.role)]


class Extension(models.Model):
    """A number of the tenant that rings its devices. The SIP password is kept only as HA1 per realm."""

    number = models.CharField(max_length=32, unique=True)
    display_name = models.CharField(max_length=120, blank=True, default="")
    user = models.OneToOneField(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="extension")
    record_audio = models.BooleanField("Record Audio Calls", default=False)
    record_video = models.BooleanField("Record Video Calls", default=False)
    outbound_caller_id = models.CharField(max_length=32, blank=True, default="")
    enabled = models.BooleanField(default=True)
    version = models.IntegerField(default=1)

    class Meta:
        ordering = ["number"]

    def __str__(self) -> str:
        return self.number


class NumberHolder(models.Model):
    """Whose number this was, and when: `since` null is from the beginning, `until` null to this day."""

    number = models.CharField(max_length=32)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="numbers")
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["number"], condition=Q(until=None), name="number_of_one_holder")]
        indexes = [models.Index(fields=["number"], name="holder_by_number")]

    def __str__(self) -> str:
        return f"{self.number} of {self.user_id}"


class ExtensionCredential(models.Model):
    """HA1 = MD5(number:realm:password) for one realm, a SIP domain of the tenant (RFC 2617 section 3.2.2.2)."""

    extension = models.ForeignKey(Extension, on_delete=models.CASCADE, related_name="credentials")
    realm = models.CharField(max_length=253)
    ha1 = models.CharField(max_length=32)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["extension", "realm"], name="credential_per_realm")]

    def __str__(self) -> str:
        return f"{self.extension_id}@{self.realm}"


class SavedView(models.Model):
    """The filters of a list under a name, a person's own."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="saved_views")
    list_name = models.CharField(max_length=32)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000)  # as it stands in the list's address

    class Meta:
        ordering = [Lower("name")]
        constraints = [models.UniqueConstraint("user", "list_name", Lower("name"), name="saved_view_unique")]

    def __str__(self) -> str:
        return self.name


class ApiToken(models.Model):
    """A key for a program. It can do what its scopes say, never more than its owner may."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    token_hash = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=16)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class AuditEntry(models.Model):
    """Who did what to what, when and from where. Only ever added to."""

    at = models.DateTimeField(default=timezone.now)
    actor_kind = models.CharField(max_length=8)
    actor = models.CharField(max_length=200)
    actor_id = models.CharField(max_length=64, blank=True, default="")
    on_behalf = models.CharField(max_length=200, blank=True, default="")
    address = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=300)
    subject_id = models.CharField(max_length=128, blank=True, default="")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["-at", "-id"], name="audit_by_time"),
            models.Index(fields=["subject_id", "-at"], name="audit_by_subject", condition=~Q(subject_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


class ManagedEntry(models.Model):
    """A one-time ticket by which a system administrator enters this tenant as its administrator."""

    ticket_hash = models.CharField(max_length=64, unique=True)
    administrator = models.CharField(max_length=64)
    administrator_id = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.administrator
