import json
from pathlib import Path
from typing import Any

import pytest

from portal.assets import collect_if_changed


@pytest.fixture
def source(tmp_path: Path, settings: Any) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.css").write_text("a { color: red }")
    settings.STATICFILES_DIRS = [folder]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATIC_ROOT = tmp_path / "collected"
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": "portal.assets.Storage"}}
    return folder


def _collected(settings: Any) -> set[str]:
    return set(json.loads((settings.STATIC_ROOT / "staticfiles.json").read_text())["paths"])


def test_files_are_collected_once_and_again_when_they_change(source: Path, settings: Any) -> None:
    assert collect_if_changed()
    assert _collected(settings) == {"a.css"}
    assert not collect_if_changed()
    (source / "b.css").write_text("b { color: red }")
    assert collect_if_changed()
    assert _collected(settings) == {"a.css", "b.css"}
