"""What an address that does not exist, a refusal and our own failure look like, on a page and to a program."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template import loader

from accounts.rest import error_body


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("bad_request", "This request cannot be read."), status=400)
    return render(request, "400.html", status=400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("forbidden", "You may not do this."), status=403)
    return render(request, "403.html", status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("not_found", "There is no such thing here."), status=404)
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Rendered without the request: what failed may be the very thing that the shell would ask again."""
    reference = getattr(request, "request_id", "")
    if request.path.startswith("/api/"):
        details = {"reference": reference}
        return JsonResponse(error_body("server_error", "The fault is on our side.", details), status=500)
    return HttpResponse(loader.render_to_string("500.html", {"reference": reference}), status=500)
