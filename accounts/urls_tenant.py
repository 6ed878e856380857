"""Doors of this room on a tenant's host."""

from django.urls import URLPattern, URLResolver, path

from accounts import api
from accounts.pages import audit, company, lists, profile, signin, tokens, users

urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in", signin.sign_in, name="sign-in"),
    path("sign-out", signin.sign_out, name="sign-out"),
    path("enter", signin.enter_managed, name="managed-enter"),
    path("leave", signin.leave_managed, name="managed-leave"),
    path("profile", profile.profile, name="profile"),
    path("profile/password", profile.own_password, name="profile-password"),
    path("users", users.users, name="users"),
    path("users/marked", users.users_marked, name="users-marked"),
    path("users/new", users.new_user, name="user-new"),
    path("users/<int:user_id>", users.user_edit, name="user-edit"),
    path("users/<int:user_id>/extension", users.user_extension, name="user-extension"),
    path("users/<int:user_id>/password", users.user_password, name="user-password"),
    path("users/<int:user_id>/sip-password", users.user_sip_password, name="user-sip-password"),
    path("users/<int:user_id>/active", users.user_active, name="user-active"),
    path("company/general", company.company_general, name="company-general"),
    path("company/feature-codes", company.feature_codes, name="feature-codes"),
    path("company/api-tokens", tokens.api_tokens, name="api-tokens"),
    path("company/api-tokens/<int:token_id>/revoke", tokens.revoke_api_token, name="api-token-revoke"),
    path("lists/<str:name>/columns", lists.choose_columns, name="list-columns"),
    path("lists/<str:name>/views", lists.save, name="list-view-save"),
    path("lists/<str:name>/views/<int:view_id>/remove", lists.remove, name="list-view-remove"),
    path("logs/audit", audit.audit, name="audit"),
    path("api/v1/users", api.Users.as_view(), name="api-users"),
    path("api/v1/users/<str:user_id>", api.OneUser.as_view(), name="api-user"),
    path("api/v1/extensions", api.Extensions.as_view(), name="api-extensions"),
    path("api/v1/extensions/<str:number>", api.OneExtension.as_view(), name="api-extension"),
    path(
        "api/v1/extensions/<str:number>/sip-password",
        api.ExtensionSipPassword.as_view(),
        name="api-extension-sip-password",
    ),
    path("api/v1/company", api.Company.as_view(), name="api-company"),
]
