"""Collects what goes into a bundle, and writes it so that equal runs give equal bytes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekd import signing, store
from edgekd.errors import StoreError
from edgekd.pipeline.bundling.archive import write_archive
from edgekd.pipeline.bundling.claims import shorten
from edgekd.pipeline.bundling.evidence import BENCH_FILES, RELEASE, Evidence, is_bundled, read_evidence
from edgekd.pipeline.bundling.layout import (
    FORMAT,
    INDEX,
    LICENCE_TEXT,
    LICENCES,
    MATERIALS,
    PROVENANCE,
)
from edgekd.pipeline.bundling.materials import write_materials
from edgekd.pipeline.bundling.provenance import write_provenance
from edgekd.pipeline.bundling.verifying import signature_of, verify_bundle
from edgekd.pipeline.folder import MANIFEST
from edgekd.pipeline.manifest import verify
from edgekd.records import BundledFile, BundleIndex, Manifest, Release


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What will be bundled.

    Attributes:
        files: What each holds, or where it lies, by path in the bundle.
        index: Their hashes as the run has them.
        release: The verdict; none of a benchmark of bare files.
    """

    files: Mapping[str, Path | bytes]
    index: BundleIndex
    release: Release | None


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle that was written."""

    path: Path
    sha256: str
    size_bytes: int
    files: int
    signature: Path | None


def collect(folder: Path) -> Contents:
    """Find what goes into the bundle of a run, or of what `edgekd bench --out` wrote, whatever its verdict.

    Raises:
        StoreError: Neither of them, not finished, or not what its manifest says.
    """
    if (folder / MANIFEST).is_file() or not (folder / BENCH_FILES[0]).is_file():
        sources = _of_run(folder)
    else:
        found = [name for name in BENCH_FILES if (folder / name).is_file()]
        sources = {name: _listed(folder / name) for name in found}
    evidence = read_evidence(sources.keys(), lambda name: (folder / name).read_bytes(), str(folder))
    documents = _documents(evidence)
    listed = {
        name: BundledFile(sha256=hashlib.sha256(text).hexdigest(), size_bytes=len(text))
        for name, text in documents.items()
    }
    return Contents(
        files={**{name: folder / name for name in sources}, **documents},
        index=BundleIndex(edgekd_bundle=FORMAT, files=dict(sorted({**sources, **listed}.items()))),
        release=evidence.release,
    )


def write_bundle(contents: Contents, out: Path, *, key: Path | None = None, tool: signing.Tool | None = None) -> Bundle:
    """Write a bundle whole or not at all, and its signature beside it; what can't be verified is not written.

    Args:
        contents: As `collect` found it.
        out: The file.
        key: To sign it with.
        tool: That signs; `None` tells it by the key.

    Raises:
        StoreError: A file that changed meanwhile, a run that does not agree with itself, a full disk, no signature.
        MissingExtraError: The tool is not installed.
    """
    index = contents.index
    files = [(INDEX, store.json_bytes(index)), *((name, contents.files[name]) for name in index.files)]
    signature = signature_of(out)
    with store.atomic_path(out) as partial:
        with partial.open("wb") as file:
            written = write_archive(file, files)
        for name, known in index.files.items():
            if (written[name].sha256, written[name].size_bytes) != (known.sha256, known.size_bytes):
                raise StoreError(f"{name} changed while it was bundled", next_step="wait until the run is finished")
        wrong = [claim for claim in verify_bundle(partial).claims if claim.state == "wrong"]
        if wrong:
            raise StoreError(
                "; ".join(f"{claim.name}: {claim.detail}" for claim in wrong),
                where=str(out),
                next_step="run the recipe again with this edgekd",
            )
        signed = signing.sign_file(partial, key, tool) if key else None
        # One of other bytes must not lie beside these.
        with contextlib.suppress(FileNotFoundError):
            signature.unlink()
    if signed:
        store.write_bytes(signature, signed)
    return Bundle(
        path=out,
        sha256=store.sha256_of(out),
        size_bytes=out.stat().st_size,
        files=len(files),
        signature=signature if signed else None,
    )


def _of_run(folder: Path) -> dict[str, BundledFile]:
    wrong = [f"{name} ({state})" for name, state in verify(folder).items() if state != "ok"]
    if wrong:
        raise StoreError(
            f"not what its manifest says: {shorten(wrong)}",
            where=str(folder),
            next_step=f"see: edgekd verify {folder}",
        )
    manifest = store.read_json(folder / MANIFEST, Manifest)
    missing = [step for step in ("gate", "report") if step not in manifest.steps]
    if missing or RELEASE not in manifest.files:
        raise StoreError(
            f"not finished: no {' and no '.join(missing) or 'verdict'}",
            where=str(folder),
            next_step="finish it: edgekd run RECIPE --out FOLDER",
        )
    names = [name for name, file in manifest.files.items() if is_bundled(name, file.step)]
    known = {
        name: BundledFile(sha256=manifest.files[name].sha256, size_bytes=manifest.files[name].size_bytes)
        for name in names
    }
    return {**known, MANIFEST: _listed(folder / MANIFEST)}


def _listed(path: Path) -> BundledFile:
    return BundledFile(sha256=store.sha256_of(path), size_bytes=path.stat().st_size)


def _documents(evidence: Evidence) -> dict[str, bytes]:
    return {
        MATERIALS: store.json_bytes(write_materials(evidence)),
        PROVENANCE: store.json_bytes(write_provenance(evidence)),
        LICENCES: store.json_bytes(_licences(evidence)),
        LICENCE_TEXT: _own_licence().encode(),
    }


def _licences(evidence: Evidence) -> dict[str, Any]:
    """What is known of licences; null is what nobody said."""
    return {
        "files": {"spdx": evidence.recipe.get("package", {}).get("licence") or None, "said_by": "package.licence"},
        "edgekd": {
            "spdx": metadata.metadata("edgekd")["License-Expression"],
            "text": LICENCE_TEXT,
            "covers": "what packagers write around model files: C sources, snippets, cards",
        },
        "data": {"name": evidence.data, "spdx": None},
        "teachers": dict.fromkeys(sorted(evidence.teachers)),
    }


def _own_licence() -> str:
    text = metadata.distribution("edgekd").read_text("licenses/LICENSE")
    if text is None:
        raise StoreError("edgekd's own licence is not installed with it", next_step="install edgekd again")
    return text
