"""Doors of the contracts: the JSON Schemas of the events and the AsyncAPI document of `/wsi`, on every host."""

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from events import contracts


class Contract(APIView):
    """Open to all, as the OpenAPI document is: a contract tells nothing of anybody, and generators have no token."""

    permission_classes = [AllowAny]
    open_to_all = True


class SchemasDoor(Contract):
    @extend_schema(operation_id="event_schemas", tags=["contracts"], responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Every event type that is sent, in each profile, with the address of its JSON Schema."""
        items = [
            {
                "type": event_type,
                "profile": profile,
                "description": schema["description"],
                "url": request.build_absolute_uri(schema["$id"]),
            }
            for (event_type, profile), schema in contracts.contracts().items()
        ]
        return Response({"items": items, "next": None})


class SchemaDoor(Contract):
    @extend_schema(
        operation_id="event_schema",
        tags=["contracts"],
        responses=OpenApiResponse(OpenApiTypes.OBJECT, "A JSON Schema (2020-12)."),
    )
    def get(self, request: Request, event_type: str, profile: str) -> Response:
        """The JSON Schema of one event type in one profile."""
        schema = contracts.contracts().get((event_type, profile))
        if schema is None:
            raise Http404
        return Response(schema, content_type="application/schema+json")


class AsyncApiDoor(Contract):
    @extend_schema(
        operation_id="asyncapi",
        tags=["contracts"],
        responses=OpenApiResponse(OpenApiTypes.OBJECT, "An AsyncAPI 3.0 document."),
    )
    def get(self, request: Request) -> Response:
        """What can be said and heard on `/wsi` of this host."""
        return Response(contracts.asyncapi(host=request.get_host(), secure=request.is_secure()))
