"""How an operation is named in the OpenAPI document."""

from drf_spectacular.openapi import AutoSchema


class Schema(AutoSchema):
    """Tells a list from one thing: without a serializer class drf-spectacular calls both `retrieve`."""

    def get_operation_id(self) -> str:
        found = str(super().get_operation_id())
        one = self.path.endswith("}") or hasattr(self.view, "patch")
        return found if one or self.method != "GET" else f"{found.removesuffix('_retrieve')}_list"
