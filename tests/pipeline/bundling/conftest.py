"""A finished run, its bundle, and how to make one that lies."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd import pipeline, store
from edgekd.pipeline.bundling.archive import read_archive, write_archive
from edgekd.pipeline.bundling.layout import limit_of
from edgekd.records import BundledFile, BundleIndex
from tests.finished import make_run

Files = dict[str, Any]  # bytes by name


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    """A run of its own."""
    return Path(shutil.copytree(finished_once, tmp_path / "run"))


@pytest.fixture(scope="session")
def bundle(finished_once: Path) -> Path:
    """The bundle of that run: not to be written to."""
    return pipeline.write_bundle(pipeline.collect(finished_once), finished_once.with_name("run.tar")).path


@pytest.fixture
def held(bundle: Path) -> Files:
    """What the bundle holds, by name."""
    content = bundle.read_bytes()
    found = read_archive(io.BytesIO(content), "bundle", limit_of)
    return {name: content[each.offset :][: each.size_bytes] for name, each in found.items()}


@pytest.fixture
def forge(tmp_path: Path) -> Callable[[Files], Path]:
    """Make a bundle of other files, in which the list of files and the manifest fit them again."""

    def make(files: Files, *, manifest: bool = True) -> Path:
        import hashlib

        files = {name: content for name, content in files.items() if name != "bundle.json"}
        if manifest and "manifest.json" in files:
            listed = json.loads(files["manifest.json"])
            for name, content in files.items():
                if name in listed["files"]:
                    digest = hashlib.sha256(content).hexdigest()
                    listed["files"][name] |= {"sha256": digest, "size_bytes": len(content)}
            listed["recipe"] = listed["files"]["recipe.toml"]["sha256"]
            files["manifest.json"] = store.json_bytes(listed)
        index = BundleIndex(
            edgekd_bundle=1,
            files={
                name: BundledFile(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
                for name, content in sorted(files.items())
            },
        )
        out = tmp_path / "forged.tar"
        with out.open("wb") as file:
            write_archive(file, [("bundle.json", store.json_bytes(index)), *sorted(files.items())])
        return out

    return make
