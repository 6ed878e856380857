from django.apps import AppConfig


class PBXConfig(AppConfig):
    name = "pbx"

    def ready(self) -> None:
        from pbx import quarantine
        from recordings import files

        files.keepers.append(quarantine.keep_file)
