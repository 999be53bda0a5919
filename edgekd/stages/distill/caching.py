"""Fills teachers' caches: one teacher in memory at a time, each view of each sample looked at once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from edgekd import store
from edgekd.cache import NEVER, SHARD_SAMPLES, CacheManifest, TeacherCache, building, cache_root, choose_kept, exists
from edgekd.datasets import Split
from edgekd.errors import ModelError, StoreError
from edgekd.progress import Progress, Silent
from edgekd.records import TOKEN_TASKS, CacheFacts, DistillSpec, Task
from edgekd.stages.distill.positions import CHUNK
from edgekd.stages.distill.teachers import Teacher
from edgekd.stages.distill.teaching import ask
from edgekd.stages.distill.views import Batch, Views
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
        **({"draws": "from all that it says"} if spec.cache_draws else {}),
    }


def open_cache(teacher: Teacher, views: Views, spec: DistillSpec) -> TeacherCache:
    """Open the cache of a teacher, finished or not, or begin it.

    Raises:
        StoreError: The folder that the spec names holds a cache of something else.
        ConfigError: The budget does not hold it.
    """
    depends = depends_on(teacher, views, spec)
    count = count_views(spec, views.data.task)
    rows = rows_of(views)
    kept = kept_of(views, spec, teacher.outputs)
    manifest = CacheManifest(
        teacher=teacher.name,
        data=views.data.name,
        depends=depends,
        samples=len(views) * rows,
        views=count,
        classes=teacher.outputs,
        kept=kept,
        precision="fp32",
        # Whole texts, so that a part of a cache is of some of them.
        shard_samples=SHARD_SAMPLES if rows == 1 else rows * max(1, SHARD_SAMPLES // rows),
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
        samples=len(views) * rows_of(views),
        views=count_views(spec, views.data.task),
        classes=outputs,
        budget_bytes=parse_size(spec.cache_budget) if spec.cache_budget else None,
        whole=views.data.task not in ("single_label", *TOKEN_TASKS),
        some=spec.cache_draws,
    )


def rows_of(views: Views) -> int:
    """How many rows a cache holds of each sample: one, or one for each position where tokens are predicted."""
    return int(views.inputs.shape[1]) if views.data.task in TOKEN_TASKS else 1


def count_views(spec: DistillSpec, task: Task = "single_label") -> int:
    """How many views a cache holds: one where nothing is augmented or masked."""
    if not spec.augmentations and task != "masked_token":
        return 1
    return spec.views or min(16, spec.epochs)


def fill(
    cache: TeacherCache, teacher: Teacher, views: Views, progress: Progress, *, fast: bool, draws: bool = False
) -> tuple[TeacherCache, CacheFacts]:
    """Compute what a cache lacks, and check what it holds.

    Args:
        cache: From `open_cache`.
        teacher: Loaded only where something is missing.
        views: What the student will see.
        progress: Hears of samples.
        fast: Try bfloat16; it is used where it agrees with float32.
        draws: Of tokens: keep draws, not the largest logits.

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
                    if rows_of(views) == 1:
                        logits = _compute(network, views, view, samples, cache.manifest, progress)
                        cache.write(view, samples, logits)
                    else:
                        parts = _rows(network, views, view, samples, cache.manifest, draws=draws, progress=progress)
                        cache.write_parts(view, samples, parts)
            finally:
                progress.end()
        cache.check()
        facts_path = folder / "facts.json"
        if todo or not facts_path.is_file():
            asked = teacher.load() if network is None else network
            store.write_json(facts_path, _facts(cache, teacher, replay(cache, asked, views, draws=draws)))
        facts = store.read_json(facts_path, CacheFacts)
    return cache, replace(facts, teacher=teacher.name, path="")


def replay(
    cache: TeacherCache,
    teacher: nn.Module,
    views: Views,
    samples: int = _REPLAYED,
    seed: int = 0,
    *,
    draws: bool = False,
) -> float:
    """Compute some of a cache's logits anew, in float32.

    Returns:
        The largest difference between a logit that was kept and the one computed now.
    """
    if rows_of(views) > 1:
        return _replay_rows(cache, teacher, views, seed, draws=draws)
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


def _rows(
    teacher: nn.Module,
    views: Views,
    view: int,
    samples: range,
    manifest: CacheManifest,
    *,
    draws: bool,
    progress: Progress,
) -> Iterator[NDArray[np.float32]]:
    """Give logits of all positions of some texts, a chunk at a time; or logarithms of how often tokens were drawn."""
    asked: Any = teacher
    length = rows_of(views)
    texts = torch.arange(samples.start // length, samples.stop // length)
    step = -(-CHUNK // manifest.classes)
    mixed = manifest.precision == "bf16"
    with torch.inference_mode(), torch.autocast(views.device.type, torch.bfloat16, enabled=mixed):
        for text in texts:
            # One text at a time: the same numbers wherever a shard begins.
            hidden = asked.hidden(views.batch(text[None].to(views.device), view).inputs)[0]
            generator = torch.Generator(views.device).manual_seed(_seed_of(view, int(text)))
            for part in hidden.split(step):
                logits = asked.head(part).float()
                if draws:
                    logits = draw(logits, manifest.kept, generator)
                if not bool(torch.isfinite(logits).all()):
                    raise ModelError(
                        "the teacher gives no finite numbers for some samples",
                        where=manifest.teacher,
                        next_step="check its weights, and that the data has its tokenizer",
                    )
                yield logits.cpu().numpy()
            progress.advance(length)


def draw(logits: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    r"""Draw tokens from what a teacher says, and give the logarithm of each one's share of the draws.

    .. math:: \hat p_k = \frac{1}{n} \sum_{i=1}^n [x_i = k], \quad x_i \sim p, \quad \mathbb{E} \, \hat p = p

    The gradient of KL(p || q) in the student's logits is q - p, linear in p, so that of the draws is right on average;
    that of the largest K logits is not (Anshumann et al. 2025, "Sparse Logit Sampling", ACL 2025 long.885).

    Args:
        logits: (rows, V).
        count: n, draws for each row, with replacement.
        generator: Of the draws.

    Returns:
        (rows, V), so low where nothing was drawn that nothing is left of it.
    """
    drawn = torch.multinomial(logits.softmax(dim=1), count, replacement=True, generator=generator)
    shares = torch.zeros_like(logits).scatter_add_(1, drawn, torch.ones_like(drawn, dtype=logits.dtype))
    return torch.where(shares > 0, (shares / count).log(), NEVER)


def _replay_rows(cache: TeacherCache, teacher: nn.Module, views: Views, seed: int, *, draws: bool) -> float:
    rng = np.random.default_rng(seed)
    length, manifest = rows_of(views), replace(cache.manifest, precision="fp32")
    view, text = int(rng.integers(manifest.views)), int(rng.integers(len(views)))
    rows = range(text * length, (text + 1) * length)
    largest, at = 0.0, rows.start
    for now in _rows(teacher, views, view, rows, manifest, draws=draws, progress=Silent()):
        kept = cache.read(view, np.arange(at, at + len(now)))
        at += len(now)
        top = np.argpartition(now, -manifest.kept, axis=1)[:, -manifest.kept :]
        ours, theirs = np.take_along_axis(kept, top, 1), np.take_along_axis(now, top, 1)
        # Among tokens that nothing was drawn of, no one is larger than another.
        counts = theirs > NEVER if draws else np.ones_like(theirs, bool)
        largest = max(largest, float(np.abs(ours - theirs)[counts].max()))
    return largest


def _seed_of(view: int, text: int) -> int:
    return int.from_bytes(hashlib.sha256(f"draws/{view}/{text}".encode()).digest()[:7])


def _agrees_in_bfloat16(teacher: nn.Module, views: Views) -> bool:
    indices = torch.arange(min(_CHECKED, len(views)) if rows_of(views) == 1 else 1, device=views.device)
    with torch.inference_mode():
        batch = views.batch(indices, 0)
        look = ask if rows_of(views) == 1 else _ask_some
        exact = functional.log_softmax(look(teacher, batch).float(), dim=1)
        with torch.autocast(views.device.type, torch.bfloat16):
            fast = functional.log_softmax(look(teacher, batch).float(), dim=1)
    divergence = float(functional.kl_div(fast, exact, reduction="batchmean", log_target=True))
    agreement = float((fast.argmax(1) == exact.argmax(1)).float().mean())
    return divergence <= _LARGEST_KL and agreement >= _LEAST_AGREEMENT


def _ask_some(teacher: nn.Module, batch: Batch) -> torch.Tensor:
    """Ask a teacher about some positions of one text."""
    asked: Any = teacher
    found: torch.Tensor = asked.head(asked.hidden(batch.inputs)[0, :_CHECKED])
    return found


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
