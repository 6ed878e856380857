import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, for the sockets, and open above, for the user PostgreSQL runs as when root runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="voxledger-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)
