"""Steps after the student, for data that is not images of one class each."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgekd import pipeline
from edgekd.config import load_recipe

pytest.importorskip("torch")
REGRESSION = """
name = "heat"
[data]
source = "csv"
path = "heat.csv"
labels = ["watts", "kelvin"]
task = "regression"
test = 0.25
[[teachers]]
model = "mlp"
hidden = [64]
train = { epochs = 12, batch_size = 16, optimizer = "adamw", learning_rate = 0.01 }
[student]
model = "mlp"
hidden = [64, 64]
[distill]
epochs = 12
batch_size = 16
optimizer = "adamw"
learning_rate = 0.01
control = true
weak_teachers = "warn"
[export]
formats = ["onnx"]
precisions = ["fp32", "static_wi8_ai8"]
[benchmark]
runs = 60
time_limit_s = 0.2
[[budgets]]
metric = "mean_squared_error"
format = "onnx"
limit = "0.3"
[[budgets]]
metric = "parity"
limit = "50 %"
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """600 rows of eight features; watts and kelvin depend on them, but for a little noise."""
    random = np.random.default_rng(0)
    features = random.normal(5, 3, (600, 8))
    mix = random.normal(size=(8, 2)) / 8
    values = np.tanh((features - 5) @ mix) + random.normal(0, 0.02, (600, 2))
    rows = [",".join([*(f"f{index}" for index in range(8)), "watts", "kelvin"])]
    rows += [
        ",".join(f"{number:.6f}" for number in (*one, *other)) for one, other in zip(features, values, strict=True)
    ]
    (tmp_path / "heat.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "heat.toml").write_text(REGRESSION)
    monkeypatch.chdir(tmp_path)
    return features.astype(np.float32)


def run_heat(until: str, *overrides: str) -> pipeline.Outcome:
    return pipeline.run(load_recipe("heat.toml", overrides), folder=Path("run"), until=until)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of quantizers
def test_a_regression_goes_all_the_way(table: np.ndarray) -> None:
    outcome = run_heat("report")
    release = outcome.run.release
    assert release is not None
    assert release.status == "pass", [check.reason for check in release.checks]
    by_name = {(each.model, each.metric): each for each in outcome.run.measurements}
    parity = by_name["student.static_wi8_ai8.onnx", "parity"]
    # Of 45 validation samples; the share that int8 keeps to 20 dB is neither argmax's 100 % by chance nor nothing.
    assert 0.5 < np.mean(parity.samples) <= 1
    assert by_name["student.fp32.onnx", "parity"].samples == (1.0,) * len(parity.samples)
    for name in ("teacher-0", "student", "control", "student.fp32.onnx"):
        assert 0 < np.mean(by_name[name, "mean_squared_error"].samples) < 0.3
    torch_says, onnx_says = (by_name[name, "mean_squared_error"].samples for name in ("student", "student.fp32.onnx"))
    np.testing.assert_allclose(torch_says, onnx_says, atol=1e-5)
    assert len(table) == 600


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as above
def test_what_the_firmware_must_do_first_is_beside_the_files(table: np.ndarray) -> None:
    settings = ("export.precisions=['fp32']", "distill.control=false")
    outcome = run_heat("export", *settings, "export.raw_input=false")
    front_end = json.loads(Path("run/export/front_end.json").read_text())
    assert "export/front_end.json" in json.loads(Path("run/manifest.json").read_text())["files"]
    # By these numbers a raw sample becomes what the ONNX file takes: it then gives what the data's own inputs give.
    from edgekd.datasets import open_dataset

    data = open_dataset(load_recipe("heat.toml").recipe.data)
    assert data.train.positions is not None
    learned = table[data.train.positions].astype(np.float64)
    np.testing.assert_allclose(front_end["mean"], learned.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(front_end["deviation"], learned.std(axis=0), rtol=1e-4)
    raw = table[data.train.positions[:5]]
    np.testing.assert_allclose(
        (raw - np.float32(front_end["mean"])) / np.float32(front_end["deviation"]),
        data.ready(data.train)[:5],
        atol=1e-4,
    )
    assert outcome.made == ("teachers", "assistants", "distill", "export")
    told = ask((raw - np.float32(front_end["mean"])) / np.float32(front_end["deviation"]))
    # Files that take raw values give the same, and leave the firmware nothing to do but to know the features' names.
    assert run_heat("export", *settings).made == ("export",)
    assert json.loads(Path("run/export/front_end.json").read_text()).keys() == {"features"}
    np.testing.assert_allclose(ask(raw), told, rtol=1e-3, atol=1e-4)


def ask(samples: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession("run/export/student.fp32.onnx")
    (outputs,) = session.run(None, {session.get_inputs()[0].name: samples.astype(np.float32)})
    return np.asarray(outputs)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as above
def test_without_a_front_end_there_is_no_file(recipe: Path, run: Callable[..., pipeline.Outcome]) -> None:
    outcome = run(until="export")
    export = recipe.parent / "run" / "export"
    listed = [file.name for file in export.iterdir()]
    assert sorted(listed) == [
        *("corrections.json", "layers.json", "measurements.json", "models.json", "stage.json", "student.fp32.onnx")
    ]
    # Nor one that an earlier recipe left, whose record went with the earlier student's.
    (export / "front_end.json").write_text("{}")
    assert run("distill.seed=1", until="export").made == ("distill", "export")
    assert not (export / "front_end.json").exists()
    assert outcome.made == ("teachers", "assistants", "distill", "export")
