"""Static files: one joined style sheet, and nothing that names a file which is not there."""

import re
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.files.storage import FileSystemStorage

from portal.assets import SHEET, Storage, joined

STATIC = Path(settings.BASE_DIR) / "static"
TEMPLATES = Path(settings.BASE_DIR) / "templates"


def test_joined_puts_each_file_into_its_layer_in_order() -> None:
    sheet = '@layer a, b;\n@import url("x.css") layer(a);\n@import url("y.css") layer(b);\n'
    assert (
        joined(sheet, {"x.css": "p {}\n", "y.css": "q {}\n"})
        == "@layer a, b;\n@layer a {\np {}\n}\n@layer b {\nq {}\n}\n"
    )


def test_the_served_sheet_imports_nothing_and_finds_its_images(tmp_path: Path) -> None:
    storage = Storage(location=tmp_path, base_url="/static/")
    source = FileSystemStorage(location=STATIC)
    names = [str(path.relative_to(STATIC)) for kind in ("css", "icons") for path in (STATIC / kind).iterdir()]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((STATIC / name).read_bytes())

    list(storage.post_process({name: (source, name) for name in names}))

    sheet = (tmp_path / storage.stored_name(SHEET)).read_text()
    assert "@import" not in sheet
    assert sheet.count("@layer components {") == len(names) - len(list((STATIC / "icons").iterdir())) - 3
    images = re.findall(r'url\("\.\./([^"]+)"\)', sheet)
    assert images
    assert all((tmp_path / image).is_file() for image in images)


def test_every_style_sheet_is_in_the_joined_one() -> None:
    named = set(re.findall(r'url\("([^"]+)"\)', (STATIC / SHEET).read_text()))
    assert named == {path.name for path in (STATIC / "css").iterdir()} - {"all.css"}


def test_templates_name_static_files_and_icons_that_exist() -> None:
    symbols = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons" / "icons.svg").read_text()))
    for template in TEMPLATES.rglob("*.html"):
        text = template.read_text()
        for name in re.findall(r"{% static '([^']+)' %}", text):
            assert finders.find(name), f"{template} names {name}"
        assert set(re.findall(r'{% icon "([^"]+)"', text)) <= symbols, template
        assert set(re.findall(r'\bsymbol="([^"]+)"', text)) <= symbols, template
