from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "events"

    def ready(self) -> None:
        from events import endpoints
        from events.models import Catcher, Endpoint
        from tenants.rotation import Kept, kept

        kept += [
            Kept(Endpoint, "secret", "signing secret of an endpoint"),
            Kept(Endpoint, "former_secrets", "former signing secrets of an endpoint", renew=endpoints.renewed_former),
            Kept(Endpoint, "password", "password of an endpoint"),
            Kept(Endpoint, "token", "bearer token of an endpoint"),
            Kept(Catcher, "token", "address of the request catcher"),
        ]
