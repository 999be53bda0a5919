"""Peak memory of a whole run through the command, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from training import save_arrays

from edgekd.datasets import Dataset

# Linux counts the memory of whoever starts a process as that process's own, so something small has to.
_LAUNCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peaks_of(
    folder: Path, data: Dataset, teachers: Sequence[Mapping[str, object]], *, batch_size: int
) -> tuple[int, int]:
    """Run `edgekd distill` for one epoch, twice, and give each process's peak resident memory.

    Args:
        folder: Emptied first.
        data: Its training and test splits are the recipe's data.
        teachers: Tables of the recipe; none for training alone.
        batch_size: Of the student.

    Returns:
        In bytes: of a run that builds the teachers' caches, and of one that finds them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    images, recipe = folder / "images.npz", folder / "recipe.toml"
    save_arrays(images, train=data.train, test=data.test)
    recipe.write_text(_recipe(images, teachers, batch_size))
    environment = os.environ | {"EDGEKD_CACHE": str((folder / "cache").absolute())}
    cold, warm = (_peak([str(recipe), "--out", str(folder / name)], environment) for name in ("cold", "warm"))
    return cold, warm


def _peak(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "edgekd", "distill", *arguments]
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCH, *command], env=environment, stdout=subprocess.PIPE, check=True
    )
    return int(done.stdout.splitlines()[-1]) * 1024


def _recipe(images: Path, teachers: Sequence[Mapping[str, object]], batch_size: int) -> str:
    data = {"source": "npz", "path": str(images.absolute()), "channels": "first"}
    hard, soft = '{ name = "cross_entropy", weight = 0.1 }', '{ name = "kl", weight = 0.9 }'
    # Teachers that know nothing are as big as those that do.
    schedule = {"epochs": 1, "views": 1, "batch_size": batch_size, "weak_teachers": "warn"}
    lines = ['name = "memory"', "[data]", *_lines(data)]
    for teacher in teachers:
        lines += ["[[teachers]]", *_lines(teacher)]
    lines += ["[student]", 'model = "mlperf_resnet8"', "[distill]", *_lines(schedule)]
    lines += ['augmentations = [{ name = "flip" }]', f"losses = [{', '.join([hard, soft] if teachers else [hard])}]"]
    return "\n".join([*lines, ""])


def _lines(table: Mapping[str, object]) -> list[str]:
    """Numbers, texts and lists of them are written alike in JSON and TOML."""
    return [f"{key} = {json.dumps(value)}" for key, value in table.items()]
