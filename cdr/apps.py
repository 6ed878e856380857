from django.apps import AppConfig


class CDRConfig(AppConfig):
    name = "cdr"
