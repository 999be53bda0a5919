"""Two processes train what one trains; trackers are told what happened."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from edgekd.datasets import Dataset
from edgekd.errors import ConfigError
from edgekd.records import AugmentationTerm, DistillSpec, LossTerm, WritingSpec
from edgekd.stages.distill import distill
from tests.stages.distill.texts import Causal, texts

pytest.importorskip("accelerate", reason="needs the extra 'scale'")

Make = Callable[..., nn.Module]
KL, CE = LossTerm(name="kl"), LossTerm(name="cross_entropy", weight=0.3)
HINT = LossTerm(name="hint", student_layer="2", teacher_layer="2")
SPEC = DistillSpec(epochs=3, batch_size=16, learning_rate=0.05, mixed_precision="off", weak_teachers="warn")
# What both ways of training are compared on.
CASES = {
    "live": replace(SPEC, cache="off", losses=(KL, CE)),
    "cached, mixed up": replace(SPEC, losses=(KL,), views=2, augmentations=(AugmentationTerm(name="mixup"),)),
    "with a projector": replace(SPEC, losses=(CE, HINT)),
    "in parts, clipped": replace(SPEC, accumulate=2, gradient_clip=0.1, losses=(KL, CE)),
    "averaged, limited": replace(SPEC, ema=0.8, max_norm=0.5, losses=(KL,)),
    "more than there is": replace(SPEC, batch_size=1000, losses=(KL,)),
    "to be killed": replace(SPEC, epochs=4, ema=0.8, losses=(KL, CE, HINT)),
}
TRAIN = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from conftest import draw
from test_processes import CASES, SPEC, mlp
from dataclasses import replace
from edgekd.datasets import Dataset
from edgekd.errors import EdgekdError
from edgekd.progress import Silent
from edgekd.stages.distill import distill

class Kill(Silent):
    def __init__(self, left):
        self.left = left
    def start(self, task, total):
        pass
    def advance(self, count=1):
        self.left -= count
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def end(self):
        pass

folder, kill_after = Path(sys.argv[2]), int(sys.argv[3])
data = Dataset(classes=tuple("abcd"), scale=1 / 255, train=draw(60, 0), validation=draw(20, 1), test=draw(4, 2))
found = {}
for name, spec in CASES.items():
    if sys.argv[4] and name != sys.argv[4]:
        continue
    progress = Kill(kill_after) if kill_after else None
    own = folder / "run" if sys.argv[4] else None
    trained = distill(mlp(), data=data, teachers=[mlp(1)], spec=spec, folder=own, progress=progress)
    found[name] = {
        "losses": [record.train_loss for record in trained.history],
        "scores": [record.validation_loss for record in trained.history],
        "weights": [value.flatten().tolist() for value in trained.network.state_dict().values()],
    }
if not sys.argv[4]:
    try:
        distill(mlp(), data=data, spec=replace(SPEC, batch_size=15))
    except EdgekdError as error:
        found["error"] = str(error)
(folder / f"rank-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(found))
"""


# accelerate shards on GPUs only; told that there are some, it does with gloo what it does there.
SHARD = """
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType
from edgekd.stages.distill import processes

class Sharding(Accelerator):
    def __init__(self, **given):
        super().__init__(**given)
        self.state.distributed_type = DistributedType.FSDP
        if "fsdp_plugin" not in vars(self.state):
            self.state.fsdp_plugin = FullyShardedDataParallelPlugin(fsdp_version=2)

    def prepare(self, *given):
        prepared = super().prepare(*given)
        assert all(hasattr(each, "full_tensor") for each in prepared[0].parameters()), "nothing is sharded"
        return prepared

import accelerate
accelerate.Accelerator = Sharding
"""
SHARDED = ("in parts, clipped", "averaged, limited")


def mlp(seed: int = 0) -> nn.Module:
    """Build a network without batch norm, whose statistics are each process's own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 4))


def train_sharded(folder: Path) -> subprocess.CompletedProcess[str]:
    """Train what may be sharded, then what may not: a projector."""
    script = TRAIN.replace("CASES.items()", f"((name, CASES[name]) for name in {SHARDED})")
    script = script.replace("spec=replace(SPEC, batch_size=15)", "teachers=[mlp(1)], spec=CASES['with a projector']")
    (folder / "train.py").write_text(SHARD + script)
    return launch(str(folder / "train.py"), str(Path(__file__).parent), str(folder), "0", "")


def environment(**more: str) -> dict[str, str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    return {**plain, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", **more}


def launch(*command: str) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*torchrun, *command], env=environment(), capture_output=True, text=True, check=False, timeout=280
    )


def train_together(folder: Path, *, kill_after: int = 0, case: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(TRAIN)
    return launch(str(folder / "train.py"), str(Path(__file__).parent), str(folder), str(kill_after), case)


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def compare(found: dict[str, Any], data: Dataset, spec: DistillSpec) -> None:
    alone = distill(mlp(), data=data, teachers=[mlp(1)], spec=spec)
    assert found["losses"] == pytest.approx([record.train_loss for record in alone.history], rel=1e-5)
    assert found["scores"] == pytest.approx([record.validation_loss for record in alone.history], rel=1e-4)
    for one, other in zip(found["weights"], alone.network.state_dict().values(), strict=True):
        np.testing.assert_allclose(one, other.flatten().numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_what_one_does(data: Dataset, tmp_path: Path) -> None:
    done = train_together(tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = results(tmp_path)
    assert first == second, "every process ends with the same"
    for name, spec in CASES.items():
        compare(first[name], data, spec)
    assert first["error"] == (
        "student: batch_size: 15 samples can't be dealt out to 2 processes in 1 parts; allowed: a multiple of 2"
    )


@pytest.mark.slow
def test_a_network_that_is_sharded_learns_what_a_whole_one_does(data: Dataset, tmp_path: Path) -> None:
    done = train_sharded(tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = results(tmp_path)
    assert first == second
    assert "losses that learn a projector can't be trained with a sharded network" in first.pop("error")
    assert tuple(first) == SHARDED
    for name, found in first.items():
        compare(found, data, CASES[name])


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_to_what_one_trains(data: Dataset, tmp_path: Path) -> None:
    killed = train_together(tmp_path, kill_after=7, case="to be killed")
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed.stderr, killed.stderr
    kept = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert kept["epoch"] == 2
    done = train_together(tmp_path, case="to be killed")
    assert done.returncode == 0, done.stderr
    first, second = results(tmp_path)
    assert first == second
    compare(first["to be killed"], data, CASES["to be killed"])
    # Bytes, too, are those of two processes that nobody killed.
    (tmp_path / "whole").mkdir()
    assert train_together(tmp_path / "whole", case="to be killed").returncode == 0
    assert results(tmp_path / "whole")[0] == first


OF_TEXTS = DistillSpec(
    epochs=2,
    batch_size=16,
    optimizer="adamw",
    learning_rate=0.01,
    mixed_precision="off",
    weak_teachers="warn",
    losses=(LossTerm(name="kl", options={"temperature": 1.0}), CE),
)
TEXT_CASES = {
    "cached": OF_TEXTS,
    "live, in parts, clipped": replace(OF_TEXTS, cache="off", accumulate=2, gradient_clip=0.1),
    "of the teacher's texts": replace(OF_TEXTS, generation=WritingSpec(samples=48)),
}
TRAIN_TEXTS = """
import json, os, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from test_processes import OF_TEXTS, TEXT_CASES
from texts import Causal, texts
from edgekd.errors import EdgekdError
from edgekd.records import WritingSpec
from edgekd.stages.distill import distill

given = {"data": texts(), "teachers": [Causal(16, seed=1)]}
found = {}
for name, spec in TEXT_CASES.items() if not sys.argv[3] else ():
    trained = distill(Causal(8), **given, spec=spec)
    found[name] = {
        "losses": [record.train_loss for record in trained.history],
        "scores": [record.validation_score for record in trained.history],
        "weights": [value.flatten().tolist() for value in trained.network.state_dict().values()],
    }
if sys.argv[3]:
    try:
        distill(Causal(8), **given, spec=replace(OF_TEXTS, generation=WritingSpec(on_policy=0.5)))
    except EdgekdError as error:
        found["error"] = str(error)
(Path(sys.argv[2]) / f"rank-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_teach_a_language_model_what_one_does(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN_TEXTS)
    done = launch(str(tmp_path / "train.py"), str(Path(__file__).parent), str(tmp_path), "")
    assert done.returncode == 0, done.stderr
    first, second = results(tmp_path)
    assert first == second, "every process ends with the same"
    for name, spec in TEXT_CASES.items():
        alone = distill(Causal(8), data=texts(), teachers=[Causal(16, seed=1)], spec=spec)
        assert first[name]["losses"] == pytest.approx([record.train_loss for record in alone.history], rel=1e-5)
        assert first[name]["scores"] == pytest.approx([record.validation_score for record in alone.history], rel=1e-4)
        for one, other in zip(first[name]["weights"], alone.network.state_dict().values(), strict=True):
            np.testing.assert_allclose(one, other.flatten().numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_sharded_student_writes_no_texts(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SHARD + TRAIN_TEXTS)
    done = launch(str(tmp_path / "train.py"), str(Path(__file__).parent), str(tmp_path), "on_policy")
    assert done.returncode == 0, done.stderr
    for found in results(tmp_path):
        assert found["error"] == (
            "student: generation.on_policy: a sharded network can't write texts while it is trained; allowed: 0; "
            "launch without --use_fsdp, or let the teacher write: generation.samples"
        )


TRACK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import draw
from test_processes import CASES, mlp
from dataclasses import asdict, replace
from edgekd.datasets import Dataset
from edgekd.errors import EdgekdError
from edgekd.stages.distill import distill
from edgekd.store import write_json
data = Dataset(classes=tuple("abcd"), scale=1 / 255, train=draw(60, 0), validation=draw(20, 1), test=draw(4, 2))
spec = replace(CASES["live"], trackers=("tensorboard",))
for name in ("student", "other"):  # two trainings in one process
    trained = distill(mlp(), data=data, teachers=[mlp(1)], spec=spec, folder=Path(sys.argv[2]) / name, name=name)
write_json(Path(sys.argv[2]) / "history.json", trained.history)
try:
    distill(mlp(), data=data, spec=replace(spec, losses=(), trackers=("no-such-tracker",)))
except EdgekdError as error:
    print(error)
"""


def test_a_tracker_that_is_not_there_is_named(data: Dataset) -> None:
    found = [name for name in ("mlflow", "wandb") if importlib.util.find_spec(name) is None]
    if not found:
        pytest.skip("all trackers are installed")
    with pytest.raises(ConfigError, match=f"^student: trackers: tracker '{found[0]}' is not installed; pip install"):
        distill(mlp(), data=data, spec=replace(SPEC, trackers=(found[0],)))


@pytest.mark.slow
def test_tensorboard_is_told_of_every_epoch(data: Dataset, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    done = subprocess.run(
        [sys.executable, "-c", TRACK, str(Path(__file__).parent), str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "student: trackers: " in done.stdout
    history = json.loads((tmp_path / "history.json").read_text())
    alone = distill(mlp(), data=data, teachers=[mlp(1)], spec=CASES["live"])
    assert [record["train_loss"] for record in history] == [record.train_loss for record in alone.history]
    for name in ("student", "other"):
        (log,) = (file for file in (tmp_path / name).rglob("events.out.tfevents*") if _has_scalars(accumulator, file))
        events = accumulator.EventAccumulator(str(log)).Reload()
        told = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        assert told.keys() == {"train_loss", "validation_loss", "validation_accuracy", "learning_rate"}
        for tag, key in (("train_loss", "train_loss"), ("validation_accuracy", "validation_score")):
            assert [step for step, _ in told[tag]] == [0, 1, 2]
            assert [value for _, value in told[tag]] == pytest.approx([record[key] for record in history], rel=1e-5)


def _has_scalars(accumulator: Any, file: Path) -> bool:
    return bool(accumulator.EventAccumulator(str(file)).Reload().Tags()["scalars"])


RECIPE = """
name = "toy"
[data]
source = "digits"
[[teachers]]
model = "mlp"
hidden = [32]
[teachers.train]
epochs = 2
batch_size = 64
mixed_precision = "off"
[student]
model = "mlp"
hidden = [8]
[distill]
epochs = 2
batch_size = 64
mixed_precision = "off"
"""


@pytest.mark.slow
def test_a_recipe_on_two_processes_gives_what_it_gives_on_one(tmp_path: Path, own_cache: Path) -> None:
    (tmp_path / "toy.toml").write_text(RECIPE)
    arguments = ["-m", "edgekd", "distill", str(tmp_path / "toy.toml"), "--out"]
    together = launch(*arguments, str(tmp_path / "together"))
    assert together.returncode == 0, together.stderr
    alone = subprocess.run(
        [sys.executable, *arguments, str(tmp_path / "alone")],
        env=environment(EDGEKD_CACHE=str(own_cache / "alone")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert alone.returncode == 0, alone.stderr
    for name in ("teachers/teacher-0", "distill/student"):
        found, expected = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("together", "alone"))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(found[key].numpy(), value.numpy(), rtol=1e-2, atol=1e-4)
    assert together.stdout.count("report") == alone.stdout.count("report"), "only the first process speaks"
