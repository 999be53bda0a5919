"""Fills teachers' caches: one teacher in memory at a time, each view of each sample looked at once."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edgekd import store
from edgekd.cache import CacheManifest, TeacherCache, building, cache_root, choose_kept, exists
from edgekd.datasets import Split
from edgekd.errors import ModelError, StoreError
from edgekd.progress import Progress
from edgekd.records import CacheFacts, DistillSpec
from edgekd.stages.distill.teachers import Teacher
from edgekd.stages.distill.teaching import ask
from edgekd.stages.distill.views import Views
from edgekd.units import human, parse_size

_log = logging.getLogger("edgekd")
_BATCH = {"cpu": 512, "cuda": 2048}
# How far bfloat16 may lead a teacher astray, on samples that it and float32 both see.
_CHECKED = 256
_LARGEST_KL = 1e-3
_LEAST_AGREEMENT = 0.99
_REPLAYED = 64


def depends_on(teacher: Teacher, views: Views, spec: DistillSpec) -> dict[str, str]:
    """List what a teacher's logits depend on: names for people, hashes for machines."""
    return {
        "teacher weights": teacher.fingerprint,
        "data": views.fingerprint,
        "augmentations": store.fingerprint(spec.augmentations),
        "augmentation_seed": str(spec.augmentation_seed),
        "code of augmentations": store.code_fingerprint("augmentations", "stages/distill/views.py"),
        "torch": torch.__version__,
    }


def open_cache(teacher: Teacher, views: Views, spec: DistillSpec) -> TeacherCache:
    """Open the cache of a teacher, finished or not, or begin it.

    Raises:
        StoreError: The folder that the spec names holds a cache of something else.
        ConfigError: The budget does not hold it.
    """
    depends = depends_on(teacher, views, spec)
    count = count_views(spec)
    kept = kept_of(views, spec, teacher.outputs)
    manifest = CacheManifest(
        teacher=teacher.name,
        data=views.data.name,
        depends=depends,
        samples=len(views),
        views=count,
        classes=teacher.outputs,
        kept=kept,
        precision="fp32",
    )
    if spec.cache_folder:
        folder = spec.cache_folder / teacher.name
    else:
        key = store.fingerprint(depends, asdict(replace(manifest, depends={}, teacher="", data="")))
        folder = cache_root() / f"{teacher.name}-{views.data.name}-{key[:12]}"
    # A mismatch is found here, before anything is computed.
    return TeacherCache.open(folder, manifest) if exists(folder) else TeacherCache(folder, manifest)


def kept_of(views: Views, spec: DistillSpec, outputs: int) -> int:
    """Choose how many of a teacher's outputs are kept of each sample.

    Raises:
        ConfigError: The budget does not hold the cache.
    """
    return choose_kept(
        samples=len(views),
        views=count_views(spec),
        classes=outputs,
        budget_bytes=parse_size(spec.cache_budget) if spec.cache_budget else None,
        whole=views.data.task != "single_label",
    )


def count_views(spec: DistillSpec) -> int:
    """How many views a cache holds: one where nothing is augmented."""
    if not spec.augmentations:
        return 1
    return spec.views or min(16, spec.epochs)


def fill(
    cache: TeacherCache, teacher: Teacher, views: Views, progress: Progress, *, fast: bool
) -> tuple[TeacherCache, CacheFacts]:
    """Compute what a cache lacks, and check what it holds.

    Args:
        cache: From `open_cache`.
        teacher: Loaded only where something is missing.
        views: What the student will see.
        progress: Hears of samples.
        fast: Try bfloat16; it is used where it agrees with float32.

    Returns:
        The complete cache, and what it holds.

    Raises:
        StoreError: A part is damaged, it belongs to something else, or the disk is full; what was computed is kept.
        ModelError: The teacher gives no finite numbers.
    """
    folder = cache.folder
    with building(folder):
        manifest = cache.manifest
        network: nn.Module | None = None  # never two of them in memory
        if fast and not exists(folder):
            network = teacher.load()
            precision = "bf16" if _agrees_in_bfloat16(network, views) else "fp32"
            manifest = replace(manifest, precision=precision)
        cache = TeacherCache.open(folder, manifest)
        todo = list(cache.missing())
        if todo:
            _log.info(
                "%s: caching %d views of %d samples in %s: %s of %d logits each, %s",
                teacher.name,
                manifest.views,
                manifest.samples,
                cache.manifest.precision,
                "all" if manifest.kept == manifest.classes else f"the largest {manifest.kept}",
                manifest.classes,
                human(manifest.size_bytes, "B"),
            )
            network = teacher.load() if network is None else network
            progress.start(f"{teacher.name}: cache", manifest.views * manifest.samples)
            progress.advance(manifest.views * manifest.samples - sum(len(samples) for _, samples in todo))
            try:
                for view, samples in todo:
                    cache.write(view, samples, _compute(network, views, view, samples, cache.manifest, progress))
            finally:
                progress.end()
        cache.check()
        facts_path = folder / "facts.json"
        if todo or not facts_path.is_file():
            store.write_json(
                facts_path, _facts(cache, teacher, replay(cache, teacher.load() if network is None else network, views))
            )
        facts = store.read_json(facts_path, CacheFacts)
    return cache, replace(facts, teacher=teacher.name, path="")


def replay(cache: TeacherCache, teacher: nn.Module, views: Views, samples: int = _REPLAYED, seed: int = 0) -> float:
    """Compute some of a cache's logits anew, in float32.

    Returns:
        The largest difference between a logit that was kept and the one computed now.
    """
    rng = np.random.default_rng(seed)
    view = int(rng.integers(cache.manifest.views))
    indices = np.sort(rng.choice(cache.manifest.samples, min(samples, cache.manifest.samples), replace=False))
    kept = cache.read(view, indices)
    with torch.inference_mode():
        batch = views.batch(torch.from_numpy(indices).to(views.device), view)
        now = ask(teacher, batch).float().cpu().numpy()
    if cache.manifest.kept < cache.manifest.classes:
        top = np.argsort(now, axis=1)[:, -cache.manifest.kept :]
        kept, now = np.take_along_axis(kept, top, 1), np.take_along_axis(now, top, 1)
    return float(np.abs(kept - now).max())


def _compute(
    teacher: nn.Module, views: Views, view: int, samples: range, manifest: CacheManifest, progress: Progress
) -> NDArray[np.float32]:
    device = views.device
    found = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=manifest.precision == "bf16"):
        for indices in torch.arange(samples.start, samples.stop).split(_BATCH.get(device.type, 512)):  # type: ignore[no-untyped-call]  # torch's stubs
            outputs = ask(teacher, views.batch(indices.to(device), view))
            found.append(outputs.float().cpu().numpy())
            progress.advance(len(indices))
    logits: NDArray[np.float32] = np.concatenate(found)
    if not np.isfinite(logits).all():
        raise ModelError(
            "the teacher gives no finite numbers for some samples",
            where=manifest.teacher,
            next_step="check its weights and the range of its inputs (input_scale)",
        )
    return logits


def _agrees_in_bfloat16(teacher: nn.Module, views: Views) -> bool:
    indices = torch.arange(min(_CHECKED, len(views)), device=views.device)
    with torch.inference_mode():
        batch = views.batch(indices, 0)
        exact = functional.log_softmax(ask(teacher, batch).float(), dim=1)
        with torch.autocast(views.device.type, torch.bfloat16):
            fast = functional.log_softmax(ask(teacher, batch).float(), dim=1)
    divergence = float(functional.kl_div(fast, exact, reduction="batchmean", log_target=True))
    agreement = float((fast.argmax(1) == exact.argmax(1)).float().mean())
    return divergence <= _LARGEST_KL and agreement >= _LEAST_AGREEMENT


def _facts(cache: TeacherCache, teacher: Teacher, error: float) -> CacheFacts:
    manifest = cache.manifest
    return CacheFacts(
        teacher=teacher.name,
        path="",
        samples=manifest.samples,
        views=manifest.views,
        classes=manifest.classes,
        kept=manifest.kept,
        size_bytes=manifest.size_bytes,
        precision=manifest.precision,
        error=error,
    )


def keep_validation(cache: TeacherCache, split: Split, outputs: NDArray[np.float32]) -> None:
    """Keep what a teacher says of the validation split, so that a later run need not load it to judge it."""
    with building(cache.folder):
        body = np.ascontiguousarray(outputs, np.float32).tobytes()
        store.write_bytes(_validation_file(cache, split), body + hashlib.sha256(body).digest())


def read_validation(cache: TeacherCache, split: Split) -> NDArray[np.float32] | None:
    """Read what `keep_validation` kept; nothing where that is not there.

    Raises:
        StoreError: It is damaged.
    """
    path = _validation_file(cache, split)
    if not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content[:-32]).digest() != content[-32:]:
        raise StoreError("this part of the cache is damaged", where=str(path), next_step="delete the file")
    return np.frombuffer(content[:-32], np.float32).reshape(len(split), -1).copy()


def _validation_file(cache: TeacherCache, split: Split) -> Path:
    """The same training data may be tried on other validation data."""
    digest = hashlib.sha256(np.ascontiguousarray(split.inputs).data).hexdigest()
    return cache.folder / f"validation-{digest[:12]}.outputs"
