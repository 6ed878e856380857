"""Sign-in and sign-out: a company first, on the system host; then a name and a password, on the company's own."""

from django.contrib import auth
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import actor_for, open_to_all, person_of
from accounts.forms import CompanyDomainForm, SignInForm
from accounts.lockout import client_ip
from accounts.managing import ActingAdministrator, leave, remember, use_ticket
from accounts.models import User
from tenants.addresses import system_address, tenant_address
from tenants.changes import announce
from tenants.models import SipDomain, Tenant
from tenants.sip_domains import primary_domain


@open_to_all
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def company_sign_in(request: HttpRequest) -> HttpResponse:
    """On the system host. A domain that nobody has gets the same page again, with a way forward."""
    form = CompanyDomainForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        domain = form.cleaned_data["domain"].strip().rstrip(".").rpartition("@")[2]
        found = SipDomain.objects.select_related("tenant").filter(domain__iexact=domain).first()
        if found is not None:
            return HttpResponseRedirect(tenant_address(found.tenant, reverse("sign-in")))
        form.add_error(
            "domain",
            "No company is known by this name. Look at your phone's address, or ask who set up your phone.",
        )
    return render(request, "accounts/sign_in_company.html", {"form": form, "next": _next_of(request)})


@open_to_all
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def administrator_sign_in(request: HttpRequest) -> HttpResponse:
    return _sign_in(request, "accounts/sign_in_administrator.html", {})


@open_to_all
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    tenant: Tenant = request.tenant  # type: ignore[attr-defined]
    about = {"domain": primary_domain(tenant), "elsewhere": system_address("/sign-in")}
    return _sign_in(request, "accounts/sign_in.html", about)


def _sign_in(request: HttpRequest, template: str, about: dict[str, str]) -> HttpResponse:
    onward = _next_of(request)
    if request.method != "POST" and person_of(request) is not None:
        return HttpResponseRedirect(onward)
    form = SignInForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        name, password = form.cleaned_data["username"].strip(), form.cleaned_data["password"]
        user = auth.authenticate(request, username=name, password=password)
        if isinstance(user, User):
            request.session.flush()  # nothing of a former session goes on, an acting administrator's least of all
            auth.login(request, user)
            announce(actor_for(user, client_ip(request)), "user.signed_in", subject=user.username, subject_id=user.pk)
            return HttpResponseRedirect(onward)
        form.add_error(None, "User name or password is wrong.")
    return render(request, template, {**about, "form": form, "next": onward})


@open_to_all
@never_cache
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    if isinstance(person, ActingAdministrator):
        leave(person, client_ip(request))
    auth.logout(request)
    return redirect("sign-in")


@open_to_all
@never_cache
@require_safe
def enter_managed(request: HttpRequest) -> HttpResponse:
    """Where a ticket from the system host leads: the session that it opens is marked on every page."""
    acting = use_ticket(request.GET.get("ticket", ""), client_ip(request))
    if acting is None:
        return render(request, "accounts/ticket_gone.html", {"system": system_address("/tenants")}, status=403)
    remember(request.session, acting)
    return HttpResponseRedirect("/")


@open_to_all
@never_cache
@require_POST
def leave_managed(request: HttpRequest) -> HttpResponse:
    """The way back to the system host, where the administrator is still signed in."""
    person = person_of(request)
    if not isinstance(person, ActingAdministrator):
        return HttpResponseRedirect("/")
    leave(person, client_ip(request))
    request.session.flush()
    return HttpResponseRedirect(system_address("/tenants"))


def _next_of(request: HttpRequest) -> str:
    """Where to go after: an address of this host only."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else "/"
