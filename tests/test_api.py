"""The stages from Python, on live objects that no module holds."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgekd

FEATURES, CLASSES = 12, 3


def make_split(count: int, seed: int) -> edgekd.Split:
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    inputs = random.normal(0, 0.3, (count, FEATURES)).astype(np.float32)
    inputs[np.arange(count), labels] += 2
    return edgekd.Split(inputs=inputs, labels=labels)


@pytest.fixture(scope="module")
def data() -> edgekd.Dataset:
    return edgekd.Dataset(
        classes=("a", "b", "c"),
        scale=1.0,
        train=make_split(300, 0),
        validation=make_split(100, 1),
        test=make_split(1000, 2),
    )


def make_network(width: int) -> Any:
    """Make a network of a class that lives in this function, as in a notebook's cell."""
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):  # type: ignore[misc, name-defined]  # torch is imported late
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(FEATURES, width), torch.nn.Linear(width, width)
            self.last = torch.nn.Linear(width, CLASSES)

        def forward(self, inputs: Any) -> Any:
            return self.last(torch.relu(self.second(torch.relu(self.first(inputs)))))

    return Network()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # converters' own, in this process only for their absence of a choice
def test_five_lines(data: edgekd.Dataset, tmp_path: Path) -> None:
    my_teacher = edgekd.distill(student=make_network(96), data=data, epochs=3, batch_size=32).network
    student = edgekd.distill(
        student=make_network(64),
        teachers=[my_teacher],
        data=data,
        losses=[edgekd.losses.kl(temperature=4.0)],
        epochs=3,
        batch_size=32,
    )
    files = edgekd.export(
        student,
        formats=("onnx", "tflite"),
        precisions=("fp32", "static_wi8_ai8"),
        calibration=data,
        folder=tmp_path,
    )
    measurements = edgekd.benchmark(files, targets=("host",), data=data, runs=50, time_limit_s=0.2)
    release = edgekd.gate(
        measurements,
        budgets=[
            edgekd.Budget(metric="file_size", limit="100 kB"),
            edgekd.Budget(metric="accuracy", limit="70 %"),
            edgekd.Budget(metric="parity", limit="70 %"),
        ],
    )
    assert release.status == "pass", [check.reason for check in release.checks]
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "student.fp32.onnx",
        "student.fp32.tflite",
        "student.static_wi8_ai8.onnx",
        "student.static_wi8_ai8.tflite",
    ]
    # 4 files, 3 budgets; and what the gate saw is of these very files.
    assert len(release.checks) == 12
    assert set(release.model_sha256s) == {model.sha256 for model in files.models}
    # NumPy is the judge of the accuracy that the exported file was measured with.
    torch = pytest.importorskip("torch")
    logits = student.network(torch.from_numpy(data.test.inputs)).detach().numpy()
    expected = float((logits.argmax(1) == data.test.labels).mean())
    measured = next(each for each in measurements if each.metric == "accuracy" and each.model == "student.fp32.onnx")
    assert np.mean(measured.samples) == pytest.approx(expected, abs=0.011)
    strict = edgekd.gate(measurements, budgets=[edgekd.Budget(metric="file_size", limit="1 kB")])
    assert strict.status == "fail"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as above
def test_python_of_the_readme(data: edgekd.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "my_module": make_network(64),
        "my_teacher": edgekd.distill(student=make_network(96), data=data, epochs=3, batch_size=32).network,
        "my_dataset": data,
    }
    exec(code, names)  # noqa: S102 - the README's own lines
    assert names["release"].status == "pass"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epoch": 3}, "did you mean 'epochs'?"),
        ({"epochs": 0}, "epochs: 0"),
        ({"learning_rate": -1.0}, "learning_rate: -1.0"),
        ({"optimizer": "adam"}, "optimizer: 'adam'"),
        ({"epoch": 3, "batch_size": 0}, "2 problems"),
    ],
)
def test_arguments_keep_to_what_recipes_must(data: edgekd.Dataset, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(edgekd.EdgekdError, match=said.replace("?", r"\?")):
        edgekd.distill(student=make_network(4), data=data, **wrong)


def test_benchmark_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(edgekd.EdgekdError, match="did you mean 'runs'"):
        edgekd.benchmark([tmp_path / "model.onnx"], run=3)
    with pytest.raises(edgekd.EdgekdError, match="unknown target 'hots'"):
        edgekd.benchmark([], targets=["hots"])


def test_all_that_is_public_can_be_had() -> None:
    assert dir(edgekd) == edgekd.__all__ == sorted(edgekd.__all__)
    assert all(getattr(edgekd, name) is not None for name in edgekd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'destil'"):
        _ = edgekd.destil


@pytest.mark.parametrize("name", ["gate", "Budget", "EdgekdError", "benchmark", "Dataset"])
def test_only_training_imports_torch(name: str) -> None:
    heavy = "{'torch', 'tensorflow', 'onnx', 'onnxruntime', 'litert_torch'}"
    code = f"import sys, edgekd; edgekd.{name}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_import_alone_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pydantic', 'scipy', 'rich', 'click'}"
    code = f"import sys, edgekd; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_compare_takes_paths(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    found = edgekd.compare(tmp_path / "m.onnx", str(tmp_path / "m.onnx"), time_limit_s=0.1, threshold=0.5)
    assert (found.status, found.threshold, len(found.processes)) == ("inconclusive", 0.5, 1)
