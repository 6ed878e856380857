"""What holds for the whole house, whoever wrote the room."""

import ast
import re
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ["portal", "pbx", "recordings", "cdr", "events", "accounts", "tenants"]
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-browser.lock"]
TEMPLATES = sorted(
    [*(ROOT / "templates").rglob("*.html"), *(p for room in ROOMS for p in (ROOT / room).rglob("*.html"))]
)
INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)(?![^>]*application/json)", re.I)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_by_hash_and_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.findall(r"\w+://|--(?:extra-)?index-url|--find-links|--trusted-host| @ ", text) == []
    pins = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert [pin for pin in pins if "==" not in pin] == []
    assert len(re.findall(r"^[a-z0-9][^\n]*\\\n    --hash=sha256:", text, re.M)) == len(pins)


def test_every_room_the_architecture_lists_exists() -> None:
    listed = re.findall(r"^\| `(\w+)/` \|", (ROOT / "docs" / "architecture.md").read_text(), re.M)
    assert listed == ROOMS
    assert [room for room in listed if not (ROOT / room / "__init__.py").exists()] == []


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_prints(room: str) -> None:
    printing = [
        f"{module.relative_to(ROOT)}:{node.lineno}"
        for module in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_template_holds_no_script_or_style_of_its_own(template: Path) -> None:
    """The content security policy would refuse it."""
    assert INLINE.findall(template.read_text()) == []


@pytest.mark.django_db
def test_models_and_migrations_agree() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize(
    "line",
    ['<p style="color: red">', "<style>", '<a onclick="x()">', "<script>x()</script>", '<a href="javascript:x()">'],
)
def test_the_rule_on_templates_sees_what_it_forbids(line: str) -> None:
    assert INLINE.search(line)


@pytest.mark.parametrize("line", ['<script type="module" src="/x.js"></script>', '<p class="style">', "<p data-on=1>"])
def test_the_rule_on_templates_leaves_the_rest(line: str) -> None:
    assert not INLINE.search(line)


def test_every_setting_is_explained_and_no_other() -> None:
    settings = (ROOT / "portal" / "settings.py").read_text()
    read = set(re.findall(r'_(?:text|flag|number|list|secret|networks|prefixes|choice)\(\s*"([A-Z_]+)"', settings))
    explained = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.M))
    assert read == explained
