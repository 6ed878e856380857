"""An import goes down the list of rooms, never up."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ["portal", "pbx", "recordings", "cdr", "events", "accounts", "tenants"]


def _imported_rooms(module: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.split(".")[0] for name in names} & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down(room: str) -> None:
    above = set(ROOMS[: ROOMS.index(room)])
    upward = {
        f"{module.relative_to(ROOT)} imports {name}"
        for module in (ROOT / room).rglob("*.py")
        for name in _imported_rooms(module) & above
    }
    assert upward == set()
