from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The mirror directory with the real files."""
    named = os.environ.get("DYNPLAT_DATA", "")
    if not named:
        pytest.skip("DYNPLAT_DATA is not set: it names the directory with the catalogue's real files")
    return Path(named)
