from django.apps import AppConfig


class PBXConfig(AppConfig):
    name = "pbx"
