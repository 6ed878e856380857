"""Doors of this room on the system host."""

from django.urls import URLPattern, URLResolver, path

from accounts.pages import audit, lists, profile, signin, tokens

urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in", signin.company_sign_in, name="sign-in"),
    path("sign-in/administrator", signin.administrator_sign_in, name="sign-in-administrator"),
    path("sign-out", signin.sign_out, name="sign-out"),
    path("profile", profile.profile, name="profile"),
    path("profile/password", profile.own_password, name="profile-password"),
    path("api-tokens", tokens.api_tokens, name="api-tokens"),
    path("api-tokens/<int:token_id>/revoke", tokens.revoke_api_token, name="api-token-revoke"),
    path("lists/<str:name>/columns", lists.choose_columns, name="list-columns"),
    path("lists/<str:name>/views", lists.save, name="list-view-save"),
    path("lists/<str:name>/views/<int:view_id>/remove", lists.remove, name="list-view-remove"),
    path("logs/audit", audit.audit, name="audit"),
]
