"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of reference data and models; tests that need it skip where there is none."""
    folder = os.environ.get("EDGEKD_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set EDGEKD_TEST_DATA to a folder of reference data and models")
    return Path(folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep teachers' caches apart from the user's own, and each test's from those of others."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EDGEKD_CACHE", str(folder))
    return folder
