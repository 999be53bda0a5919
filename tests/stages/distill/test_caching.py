"""A student learns the same from a cache as from the teacher, which is asked once and need not be there again."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from edgekd import registry
from edgekd.cache import CacheManifest, TeacherCache, cache_folders
from edgekd.datasets import Dataset
from edgekd.errors import ConfigError, ModelError, StoreError
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm
from edgekd.stages.distill import Distilled, Teacher, distill, on_device, replay_cache
from edgekd.stages.distill.caching import draw
from edgekd.stages.distill.fit import has_fast_bfloat16
from edgekd.stages.distill.teachers import hash_of
from edgekd.teachers import StoredLogits
from tests.stages.distill.texts import Causal, texts

Make = Callable[..., nn.Module]
SHIFT = AugmentationTerm(name="shift", options={"max_pixels": 1})
KL = LossTerm(name="kl", options={"temperature": 2.0})
SPEC = DistillSpec(
    epochs=5,
    batch_size=16,
    learning_rate=0.05,
    mixed_precision="off",
    augmentations=(SHIFT,),
    views=3,
    losses=(KL, LossTerm(name="cross_entropy", weight=0.1)),
)
BFLOAT16 = pytest.mark.skipif(
    not has_fast_bfloat16(torch.device("cpu")), reason="this hardware does not multiply bfloat16 itself"
)


class Rounded(nn.Module):
    """A teacher whose logits float16 holds as they are."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.inner = teacher

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = (self.inner(inputs) * 64).round() / 64
        return outputs


class Counting(nn.Module):
    """Counts the samples that it is shown."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.inner, self.shown = teacher, 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.shown += len(inputs)
        outputs: torch.Tensor = self.inner(inputs)
        return outputs


@dataclass
class Shelf:
    """A teacher that is built anew whenever it is loaded; knows how often, and which copies are still there."""

    build: Callable[[], nn.Module]
    name: str
    alive: list[weakref.ref[nn.Module]] = field(default_factory=list)
    loads: int = 0
    most_alive: int = 0

    def load(self) -> nn.Module:
        network = on_device(self.build())
        self.loads += 1
        self.alive.append(weakref.ref(network))
        gc.collect()
        self.most_alive = max(self.most_alive, sum(each() is not None for each in self.alive))
        return network

    @property
    def teacher(self) -> Teacher:
        return Teacher(name=self.name, fingerprint=hash_of(self.build()), outputs=4, weight=1.0, load=self.load)


def folder_of(teacher: str) -> Path:
    (found,) = (each for each in cache_folders() if each.name.startswith(teacher))
    return found


def weights(trained: Distilled) -> list[bytes]:
    return [value.numpy().tobytes() for value in trained.network.state_dict().values()]


# --- the same as live ----------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", [(), (AugmentationTerm(name="mixup"),)])
def test_logits_that_float16_holds_train_to_the_same_bits_as_live(
    data: Dataset, make: Make, quarters: Make, mixing: tuple[AugmentationTerm, ...]
) -> None:
    spec = replace(SPEC, augmentations=(SHIFT, *mixing))
    live, cached, again = (
        distill(make(), data=data, teachers=[Rounded(quarters())], spec=replace(spec, cache=cache))
        for cache in ("off", "on", "auto")
    )
    assert live.history == cached.history == again.history
    assert weights(live) == weights(cached) == weights(again)
    assert live.teaching is not None
    assert cached.teaching is not None
    assert live.teaching.caches == ()
    (facts,) = cached.teaching.caches
    assert (facts.samples, facts.views, facts.kept, facts.precision, facts.error) == (60, 3, 4, "fp32", 0.0)


def test_others_train_alike_to_the_rounding_of_float16(data: Dataset, make: Make, quarters: Make) -> None:
    live, cached = (
        distill(make(), data=data, teachers=[quarters(gain=7.3)], spec=replace(SPEC, cache=cache))
        for cache in ("off", "on")
    )
    assert live.history != cached.history, "float16 did round, or this shows nothing"
    for one, other in zip(live.history, cached.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=2e-3)
    assert cached.teaching is not None
    assert 0 < cached.teaching.caches[0].error <= 8 * 2**-11


@BFLOAT16
def test_in_bfloat16_both_say_the_same(data: Dataset, make: Make, quarters: Make) -> None:
    live, cached = (
        distill(make(), data=data, teachers=[quarters()], spec=replace(SPEC, mixed_precision="auto", cache=cache))
        for cache in ("off", "on")
    )
    assert cached.teaching is not None
    assert cached.teaching.caches[0].precision == "bf16"
    for one, other in zip(live.history, cached.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-3)


@BFLOAT16
def test_a_teacher_that_bfloat16_leads_astray_is_cached_in_float32(data: Dataset, make: Make, quarters: Make) -> None:
    class Cancels(nn.Module):
        """Adds what is large and takes it away again: bfloat16's eight bits hold nothing of the difference."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = quarters()
            self.up = nn.Linear(4, 4)
            nn.init.eye_(self.up.weight)
            nn.init.constant_(self.up.bias, 1000.0)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.up(self.inner(inputs)) - 1000
            return outputs

    trained = distill(make(), data=data, teachers=[Cancels()], spec=replace(SPEC, mixed_precision="auto"))
    assert trained.teaching is not None
    (facts,) = trained.teaching.caches
    assert facts.precision == "fp32"
    assert facts.error < 0.01


# --- how often a teacher is asked ----------------------------------------------------------------


def test_a_teacher_sees_every_view_of_every_sample_once_however_long_is_trained(
    data: Dataset, make: Make, quarters: Make
) -> None:
    teacher = Counting(quarters())
    distill(make(), data=data, teachers=[teacher], spec=replace(SPEC, epochs=9))
    # Twice two to look at its shape, ten to see whether it is steady, the validation split to judge it, and 60 that the
    # cache is held against.
    assert teacher.shown == 2 + (2 + 8 + 2) + 20 + 3 * 60 + 60
    before = {file: file.read_bytes() for file in folder_of("teacher-0").iterdir()}
    for changes in ({"seed": 3}, {"epochs": 2}, {"learning_rate": 0.01, "losses": (KL,)}, {"batch_size": 20}):
        distill(make(4), data=data, teachers=[teacher], spec=replace(SPEC, **changes))
    assert teacher.shown == 2 + (2 + 8 + 2) + 20 + 3 * 60 + 60 + 4 * 2, (
        "a live network's shape is looked at, nothing else"
    )
    assert {file: file.read_bytes() for file in folder_of("teacher-0").iterdir()} == before


def test_one_teacher_is_in_memory_at_a_time_and_none_where_all_is_known(
    data: Dataset, make: Make, quarters: Make
) -> None:
    shelves = [Shelf(partial(quarters, gain=gain), f"own-{gain}") for gain in (6.0, 7.0, 8.0)]
    together: list[weakref.ref[nn.Module]] = []
    for shelf in shelves:
        shelf.alive = together
    spec = replace(SPEC, mixed_precision="auto")
    trained = distill(make(), data=data, teachers=[shelf.teacher for shelf in shelves], spec=spec)
    assert max(shelf.most_alive for shelf in shelves) == 1
    assert trained.teaching is not None
    assert list(trained.teaching.scores) == ["own-6.0", "own-7.0", "own-8.0"]
    loads = [shelf.loads for shelf in shelves]
    again = distill(make(), data=data, teachers=[shelf.teacher for shelf in shelves], spec=spec)
    assert [shelf.loads for shelf in shelves] == loads, "a warm cache needs no teacher"
    assert again.history == trained.history
    assert again.teaching == trained.teaching


@pytest.mark.parametrize(
    ("changes", "asked_again"),
    [
        ({"augmentation_seed": 1}, True),
        ({"augmentations": ()}, True),
        ({"views": 4}, True),
        ({"cache_budget": "1 kB"}, True),
        ({"combine": "probabilities"}, False),
        ({"cache": "on"}, False),
    ],
)
def test_only_what_changes_the_logits_makes_another_cache(
    data: Dataset, make: Make, quarters: Make, changes: dict[str, object], *, asked_again: bool
) -> None:
    shelf = Shelf(quarters, "own")
    distill(make(), data=data, teachers=[shelf.teacher], spec=SPEC)
    loads = shelf.loads
    if "cache_budget" in changes:  # 60 samples of three views leave five bytes each
        with pytest.raises(ConfigError, match=r"3 views of 60 samples does not fit.*1440 bytes or more.*set views = 2"):
            distill(make(), data=data, teachers=[shelf.teacher], spec=replace(SPEC, **changes))  # type: ignore[arg-type]
        return
    distill(make(), data=data, teachers=[shelf.teacher], spec=replace(SPEC, **changes))  # type: ignore[arg-type]
    assert (shelf.loads > loads) == asked_again
    assert len(cache_folders()) == 1 + asked_again


def test_another_validation_split_is_asked_about(data: Dataset, make: Make, quarters: Make) -> None:
    distill(make(), data=data, teachers=[quarters()], spec=SPEC)
    rotated = data.validation.take(np.roll(np.arange(20), 1))
    labels = rotated.labels.copy()
    labels[:5] = (labels[:5] + 1) % 4  # the teacher's score is another
    other = replace(data, validation=replace(rotated, labels=labels))
    trained = distill(make(), data=other, teachers=[quarters()], spec=SPEC)
    assert trained.teaching is not None
    assert trained.teaching.ensemble_score == pytest.approx(0.75)
    assert len(cache_folders()) == 1, "the logits that are learned are the same"


def test_a_named_folder_must_fit_and_says_what_does_not(
    data: Dataset, make: Make, quarters: Make, tmp_path: Path
) -> None:
    spec = replace(SPEC, cache_folder=tmp_path / "own")
    distill(make(), data=data, teachers=[quarters()], spec=spec)
    assert cache_folders() == []
    before = {file: file.read_bytes() for file in (tmp_path / "own" / "teacher-0").iterdir()}
    for teacher, changes, words in (
        (quarters(gain=5.0), {}, "other teacher weights"),
        (quarters(), {"augmentation_seed": 4}, "other augmentation_seed"),
        (quarters(), {"views": 2, "augmentations": (AugmentationTerm(name="flip"),)}, "other augmentations, views"),
    ):
        with pytest.raises(StoreError, match=f"made of something else: {words}; `edgekd cache clear .*teacher-0`"):
            distill(make(), data=data, teachers=[teacher], spec=replace(spec, **changes))
    assert {file: file.read_bytes() for file in (tmp_path / "own" / "teacher-0").iterdir()} == before


# --- damage, and being killed --------------------------------------------------------------------


def test_a_damaged_cache_is_never_learned_from(data: Dataset, make: Make, quarters: Make) -> None:
    whole = distill(make(), data=data, teachers=[quarters()], spec=SPEC)
    shard = folder_of("teacher-0") / "view-0002-00000.logits"
    kept = shard.read_bytes()
    for content in (kept[:-1], bytes([kept[0] ^ 1]) + kept[1:], b""):
        shard.write_bytes(content)
        with pytest.raises(StoreError, match=r"view-0002-00000\.logits: this part of the cache is damaged; delete"):
            distill(make(), data=data, teachers=[quarters()], spec=SPEC)
    shard.unlink()  # what the message says
    assert distill(make(), data=data, teachers=[quarters()], spec=SPEC).history == whole.history
    assert shard.read_bytes() == kept


def test_replay_asks_again_and_finds_what_is_not_the_teacher_s(data: Dataset, make: Make, quarters: Make) -> None:
    shelf = Shelf(quarters, "own")
    with pytest.raises(StoreError, match="this cache is not finished"):
        replay_cache(shelf.teacher, data=data, transfer=None, spec=SPEC)
    distill(make(), data=data, teachers=[shelf.teacher], spec=SPEC)
    name, error = replay_cache(shelf.teacher, data=data, transfer=None, spec=SPEC)
    assert name == folder_of("own").name
    assert error <= 8 * 2**-11
    impostor = Shelf(lambda: quarters(gain=9.0), "own")
    false = replace(impostor.teacher, fingerprint=shelf.teacher.fingerprint)
    assert replay_cache(false, data=data, transfer=None, spec=SPEC)[1] > 0.1


def test_a_teacher_that_gives_no_numbers_for_some_samples_is_refused(data: Dataset, make: Make, quarters: Make) -> None:
    class Fails(nn.Module):
        """Knows the validation data; a sample of the training data is too bright for it."""

        def __init__(self, limit: float) -> None:
            super().__init__()
            self.inner, self.limit = quarters(), limit

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.inner(inputs)
            return outputs.where(inputs.flatten(1).sum(1, keepdim=True) < self.limit, torch.nan)

    brightest = float(data.ready(data.validation).reshape(20, -1).sum(1).max())
    assert (data.ready(data.train).reshape(60, -1).sum(1) > brightest + 1e-3).any()
    with pytest.raises(ModelError, match=r"^teacher-0: the teacher gives no finite numbers for some samples"):
        distill(make(), data=data, teachers=[Fails(brightest + 1e-3)], spec=replace(SPEC, augmentations=()))


BUILD = """
import os, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from conftest import Quarters, draw
from edgekd.datasets import Dataset
from edgekd.records import AugmentationTerm, DistillSpec
from edgekd.stages.distill import distill

class Slow(Quarters):
    calls = 0
    def forward(self, inputs):
        Slow.calls += 1
        if Slow.calls == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(sys.argv[4]))
        return super().forward(inputs)

data = Dataset(classes=tuple("abcd"), scale=1 / 255, train=draw(60, 0), validation=draw(20, 1), test=draw(4, 2))
spec = DistillSpec(
    epochs=1,
    mixed_precision="off",
    views=12,
    cache_folder=Path(sys.argv[2]),
    augmentations=(AugmentationTerm(name="shift"),),
)
print("begun", flush=True)
distill(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4)), data=data, teachers=[Slow()], spec=spec)
"""


def build(folder: Path, *, kill_at: int = 0, pause: float = 0.0) -> subprocess.Popen[str]:
    arguments = [str(Path(__file__).parent), str(folder), str(kill_at), str(pause)]
    return subprocess.Popen([sys.executable, "-c", BUILD, *arguments], stdout=subprocess.PIPE, text=True)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "teacher-0").iterdir() if file.name != ".lock"}


@pytest.fixture
def finish(data: Dataset, quarters: Make) -> Callable[[Path], dict[str, bytes]]:
    """Build the same cache in this process, or go on with it."""

    def build(folder: Path) -> dict[str, bytes]:
        slow = type("Slow", (cast("type[nn.Module]", quarters),), {})()  # its name is part of the teacher's hash
        spec = DistillSpec(
            epochs=1,
            mixed_precision="off",
            views=12,
            cache_folder=folder,
            augmentations=(AugmentationTerm(name="shift"),),
        )
        distill(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), data=data, teachers=[slow], spec=spec)
        TeacherCache.load(folder / "teacher-0").check()
        return content(folder)

    return build


Finish = Callable[[Path], dict[str, bytes]]


def test_killed_while_it_is_built_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, finish: Finish) -> None:
    with build(tmp_path / "part", kill_at=8) as process:  # two calls before the first view
        assert process.wait(timeout=120) == -signal.SIGKILL
    left = content(tmp_path / "part")
    kept = [name for name in left if name.endswith(".logits")]
    assert 0 < len(kept) < 12
    assert finish(tmp_path / "part") == (whole := finish(tmp_path / "whole"))
    assert all(whole[name] == left[name] for name in kept)


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, finish: Finish) -> None:
    whole = finish(tmp_path / "whole")
    chance = random.Random(0)  # noqa: S311 - not for secrets
    cut_off = 0
    for trial in range(20):
        folder = tmp_path / str(trial)
        with build(folder, pause=0.02) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(chance.uniform(0, 0.4))
            process.kill()
            cut_off += process.wait(timeout=120) == -signal.SIGKILL
        assert finish(folder) == whole
    assert cut_off > 10


# --- logits that were stored before --------------------------------------------------------------


def stored(data: Dataset, quarters: Make, views: int = 1) -> StoredLogits:
    """What a teacher said of a source of which the training split is one part and the validation split another."""
    with torch.no_grad():
        images = torch.from_numpy(np.concatenate([data.ready(data.validation), data.ready(data.train)]))
        logits = quarters()(images).numpy().astype(np.float16)
    return StoredLogits(np.repeat(logits[:, None], views, 1), sha256="own")


def placed(data: Dataset) -> Dataset:
    return replace(
        data,
        train=replace(data.train, positions=np.arange(20, 80)),
        validation=replace(data.validation, positions=np.arange(20)),
    )


@pytest.mark.parametrize("cache", ["off", "on"])
def test_stored_logits_teach_as_the_network_that_gave_them(
    data: Dataset, make: Make, quarters: Make, cache: str
) -> None:
    spec = replace(SPEC, augmentations=(), views=None, cache="on")
    asked = distill(make(), data=data, teachers=[quarters()], spec=spec)
    table = distill(
        make(),
        data=placed(data),
        teachers=[stored(data, quarters)],
        spec=replace(spec, cache="off" if cache == "off" else "on"),
    )
    assert [each.train_loss for each in table.history] == [each.train_loss for each in asked.history]
    assert table.teaching is not None
    assert table.teaching.ensemble_score == 1.0


@pytest.mark.parametrize(
    ("changes", "needed"), [({}, 3), ({"cache": "off"}, 3), ({"views": None}, 5), ({"views": None, "cache": "off"}, 5)]
)
def test_stored_logits_of_too_few_views_are_refused_before_training(
    data: Dataset, make: Make, quarters: Make, changes: dict[str, object], needed: int
) -> None:
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    for views in (1, needed - 1):
        with pytest.raises(
            ConfigError, match=f"^teacher-0: logits of {views} views are stored, the student sees {needed}; allowed"
        ):
            distill(make(), data=placed(data), teachers=[stored(data, quarters, views)], spec=spec)
    distill(make(), data=placed(data), teachers=[stored(data, quarters, needed)], spec=spec)


def test_stored_logits_of_too_few_samples_are_refused_before_training(
    data: Dataset, make: Make, quarters: Make
) -> None:
    beyond = placed(data)
    beyond = replace(beyond, train=replace(beyond.train, positions=np.arange(25, 85)))
    with pytest.raises(ModelError, match="logits of 80 samples are stored, the source has 85 or more"):
        distill(make(), data=beyond, teachers=[stored(data, quarters)], spec=replace(SPEC, augmentations=()))


def gradient_of(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Of forward KL at temperature 1, in the student's logits."""
    student = student.clone().requires_grad_()
    value = registry.function("losses", "kl")(student=student, teacher=teacher, temperature=1.0)
    (found,) = torch.autograd.grad(value, student)
    return found


def test_draws_have_the_gradient_of_all_logits_on_average_and_the_largest_have_not(tmp_path: Path) -> None:
    """As they come out of the cache, with uint32 for more than 65,536 tokens."""
    vocabulary, kept, rows = 70_000, 12, 300
    logits = torch.randn(1, vocabulary, generator=torch.Generator().manual_seed(0)) * 0.1
    logits[0, -40:] += torch.linspace(6, 9, 40)  # high numbers: uint16 would not hold them
    student = torch.zeros(1, vocabulary)
    wanted = gradient_of(logits, student)
    known: dict[str, Any] = {
        "teacher": "t",
        "data": "d",
        "depends": {},
        "views": 1,
        "classes": vocabulary,
        "kept": kept,
        "precision": "fp32",
    }
    drawn = TeacherCache.open(tmp_path / "drawn", CacheManifest(**known, samples=rows, shard_samples=rows))
    generator = torch.Generator().manual_seed(1)
    drawn.write_parts(0, range(rows), (draw(logits.expand(50, -1), kept, generator).numpy() for _ in range(rows // 50)))
    drawn.check()
    total = torch.zeros(1, vocabulary)
    for row in range(rows):
        total += gradient_of(torch.from_numpy(drawn.read(0, np.array([row]))), student)
    largest = TeacherCache.open(tmp_path / "largest", CacheManifest(**known, samples=1, shard_samples=1))
    largest.write(0, range(1), logits.numpy())
    of_largest = gradient_of(torch.from_numpy(largest.read(0, np.array([0]))), student)
    # Likely tokens, each of which the largest 12 leave out: what is drawn finds them, they do not.
    left_out = slice(vocabulary - 40, vocabulary - 16)
    share = float(logits.softmax(1)[0, left_out].sum())
    error = (share * (1 - share) / (kept * rows)) ** 0.5
    found, biased = (float((each - wanted)[0, left_out].sum()) for each in (total / rows, of_largest))
    assert abs(found) < 4 * error + 1e-3 * share
    assert abs(biased) > 10 * error


def test_a_language_model_learns_from_draws() -> None:
    spec = DistillSpec(
        epochs=3, batch_size=16, optimizer="adamw", learning_rate=0.02, mixed_precision="off", cache_draws=True,
        losses=(LossTerm(name="kl", options={"temperature": 1.0}),), weak_teachers="warn",
    )  # fmt: skip
    data = texts()
    teacher = distill(Causal(16), data=data, spec=replace(spec, losses=(), cache_draws=False, epochs=10)).network
    found = distill(Causal(8), data=data, teachers=[teacher], spec=spec)
    assert found.history[-1].validation_score < found.history[0].validation_score
    assert found.teaching is not None
    assert found.teaching.caches[0].kept == 11  # one less than there are tokens: they are draws
    assert found.teaching.caches[0].error < 0.01
