"""`edgekd cache`: what lies there, whether it is whole and still right, and how it goes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
Call = Callable[..., subprocess.CompletedProcess[str]]
RECIPE = """
name = "clouds"
[data]
source = "npz"
path = "clouds.npz"
validation = 0.25
[[teachers]]
model = "mlp"
hidden = [32]
train = { epochs = 3, batch_size = 16 }
[student]
model = "mlp"
hidden = [6]
[distill]
epochs = 2
batch_size = 16
augmentations = [{ name = "mixup" }]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its run, and its teacher's cache."""
    folder = tmp_path_factory.mktemp("cached")
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    inputs = random.normal(0, 0.4, (400, 6)).astype(np.float32)
    inputs[np.arange(400), labels] += 1.5
    np.savez(folder / "clouds.npz", x=inputs, y=labels)
    (folder / "clouds.toml").write_text(RECIPE)
    done = command(folder, "distill", "clouds.toml")
    assert done.returncode == 0, done.stderr
    return folder


def command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "EDGEKD_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def edgekd(here: Path) -> Call:
    """Run the installed command in a copy of that folder."""
    return lambda *arguments: command(here, *arguments)


def name_of(folder: Path) -> str:
    (cache,) = (folder / "cache" / "teachers").iterdir()
    return cache.name


def parsed(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[7] ^= 4
    file.write_bytes(content)


def test_list(edgekd: Call, here: Path) -> None:
    name = name_of(here)
    files = [file for file in (here / "cache" / "teachers" / name).iterdir() if file.is_file()]
    (found,) = parsed(edgekd("cache", "list", "--json"))
    assert (found["name"], found["teacher"], found["data"]) == (name, "teacher-0", "npz")
    # 400 samples, of which a fifth are for the test and a quarter of the rest for validation; a view for each epoch.
    assert (found["samples"], found["views"], found["kept"], found["classes"]) == (240, 2, 3, 3)
    assert found["size_bytes"] == sum(file.stat().st_size for file in files)
    assert found["complete"] is True
    assert {"teacher weights", "data", "augmentations"} <= set(found["depends"])
    shown = edgekd("cache", "list")
    assert (shown.returncode, shown.stderr) == (0, "")
    for word in (name, "240", "3 of 3", "complete", "1 caches in"):
        assert word in shown.stdout
    next((here / "cache").rglob("view-0001-*.logits")).unlink()
    assert "unfinished" in edgekd("cache", "list").stdout
    assert parsed(edgekd("cache", "list", "--json"))[0]["complete"] is False


def test_no_caches_are_nothing_wrong(tmp_path: Path) -> None:
    assert "0 caches" in command(tmp_path, "cache", "list").stdout
    assert parsed(command(tmp_path, "cache", "list", "--json")) == []
    for arguments in (["verify"], ["clear", "--all"]):
        assert command(tmp_path, "cache", *arguments).returncode == 0


def test_verify(edgekd: Call, here: Path) -> None:
    name = name_of(here)
    assert parsed(edgekd("cache", "verify", "--json")) == {name: "ok"}
    assert parsed(edgekd("cache", "verify", name, "--json")) == {name: "ok"}
    flip_a_byte(next((here / "cache").rglob("view-0001-*.logits")))
    damaged = edgekd("cache", "verify", "--json")
    assert damaged.returncode == 1
    assert "damaged" in parsed(damaged)[name]
    assert "view-0001-00000.logits" in parsed(damaged)[name]


@pytest.mark.slow
def test_verify_asks_the_recipe_s_teachers_again(edgekd: Call, here: Path) -> None:
    name = name_of(here)
    done = edgekd("cache", "verify", "--recipe", "clouds.toml", "--json")
    assert done.returncode == 0, done.stderr
    said = parsed(done)[name]
    assert said.startswith("replayed: largest difference of a logit ")
    assert 0 < float(said.split()[-1]) < 0.2  # float16, and bfloat16 where the machine computes in it
    # A cache whose bytes are whole but wrong is found by asking.
    shard = next((here / "cache").rglob("view-0000-*.logits"))
    other = next((here / "cache").rglob("view-0001-*.logits"))
    first, second = shard.read_bytes(), other.read_bytes()
    shard.write_bytes(second)
    other.write_bytes(first)
    wrong = edgekd("cache", "verify", "--recipe", "clouds.toml", "--json")
    assert float(parsed(wrong)[name].split()[-1]) > 1
    assert edgekd("cache", "verify", "--json").returncode == 0


@pytest.mark.slow
def test_verify_needs_the_recipe_s_run(edgekd: Call) -> None:
    done = edgekd("cache", "verify", "--recipe", "clouds.toml", "--out", "elsewhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "elsewhere: no teachers here" in done.stderr
    unfinished = edgekd("cache", "verify", "--recipe", "clouds.toml", "--set", "distill.views=1")
    assert unfinished.returncode == 2
    assert "not finished" in unfinished.stderr


@pytest.mark.slow
def test_a_damaged_cache_stops_a_run_with_the_way_out(edgekd: Call, here: Path) -> None:
    before = (here / "runs/clouds/distill/student.safetensors").read_bytes()
    shard = next((here / "cache").rglob("view-0000-*.logits"))
    flip_a_byte(shard)
    done = edgekd("distill", "clouds.toml", "--out", "again")
    assert done.returncode == 2
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert f"{shard.name}: this part of the cache is damaged; delete the file: the next run computes it" in message
    shard.unlink()
    again = edgekd("distill", "clouds.toml", "--out", "again")
    assert again.returncode == 0, again.stderr
    assert (here / "again/distill/student.safetensors").read_bytes() == before


@pytest.mark.slow
def test_clear(edgekd: Call, here: Path) -> None:
    name = name_of(here)
    size = parsed(edgekd("cache", "list", "--json"))[0]["size_bytes"]
    nothing = edgekd("cache", "clear")
    assert nothing.returncode == 2
    assert "give names" in nothing.stderr
    assert edgekd("cache", "clear", name, "--all").returncode == 2
    freed = parsed(edgekd("cache", "clear", name, "--json"))
    assert freed == {name: pytest.approx(size, abs=200)}
    assert not (here / "cache" / "teachers" / name).exists()
    # A later run asks the teacher again.
    assert edgekd("distill", "clouds.toml", "--set", "distill.seed=1").returncode == 0
    assert list(parsed(edgekd("cache", "clear", "--all", "--json"))) == [name]
    assert parsed(edgekd("cache", "list", "--json")) == []


@pytest.mark.parametrize("subcommand", ["verify", "clear"])
def test_a_cache_that_is_not_there(subcommand: str, edgekd: Call, here: Path) -> None:
    name = name_of(here)
    done = edgekd("cache", subcommand, name[:-1])
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no cache '{name[:-1]}'; allowed: {name}; did you mean '{name}'?" in done.stderr


@pytest.mark.slow
def test_a_folder_of_one_s_own_is_refused_when_it_is_of_something_else(edgekd: Call, here: Path) -> None:
    kept = ("--set", "distill.cache_folder='kept'")
    assert edgekd("distill", "clouds.toml", "--out", "one", *kept).returncode == 0
    assert (here / "kept" / "teacher-0" / "manifest.json").is_file()
    done = edgekd("distill", "clouds.toml", "--out", "two", *kept, "--set", "distill.augmentation_seed=1")
    assert done.returncode == 2
    assert "this cache was made of something else: other augmentation_seed" in done.stderr
    assert "`edgekd cache clear kept/teacher-0`" in done.stderr


def test_a_folder_of_one_s_own_is_named_by_its_path(edgekd: Call, here: Path) -> None:
    shutil.copytree(here / "cache" / "teachers" / name_of(here), here / "kept" / "teacher-0")
    assert parsed(edgekd("cache", "verify", "kept/teacher-0", "--json")) == {"teacher-0": "ok"}
    assert edgekd("cache", "clear", here / "kept" / "teacher-0").returncode == 0
    assert not (here / "kept" / "teacher-0").exists()
    assert edgekd("cache", "verify", "kept/teacher-0").returncode == 2
    assert name_of(here), "the others are left alone"
