"""One network as torch weights, an ONNX file, a TFLite file, stored logits and a function: one teacher in recipes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd import pipeline
from edgekd.errors import EdgekdError
from edgekd.records import Model

safetensors = pytest.importorskip("safetensors.numpy")
Run = Callable[..., pipeline.Outcome]
SOFT = "distill.losses=[{name='kl', temperature=2.0}]"


@dataclass(frozen=True)
class Perceptron:
    """A teacher's weights, and what they give in float64."""

    w1: NDArray[np.float32]
    b1: NDArray[np.float32]
    w2: NDArray[np.float32]
    b2: NDArray[np.float32]

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        hidden = np.maximum(inputs.astype(np.float64) @ self.w1.T + self.b1, 0)
        return np.asarray(hidden @ self.w2.T + self.b2)


def write_onnx(network: Perceptron, path: Path) -> None:
    """By the onnx package alone."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", network.w1.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", len(network.b2)])],
        [numpy_helper.from_array(getattr(network, name), name) for name in ("w1", "b1", "w2", "b2")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def write_tflite(network: Perceptron, path: Path) -> None:
    """By the exporter of this package, whose files LiteRT checks."""
    import torch
    from torch import nn

    from edgekd.records import ExportSpec
    from edgekd.stages.export import export

    module = nn.Sequential(nn.Linear(*network.w1.T.shape), nn.ReLU(), nn.Linear(*network.w2.T.shape))
    values = (network.w1, network.b1, network.w2, network.b2)
    module.load_state_dict(dict(zip(module.state_dict(), map(torch.from_numpy, values), strict=True)))
    inputs = np.random.default_rng(0).normal(size=(20, network.w1.shape[1])).astype(np.float32)
    spec = ExportSpec(formats=("tflite",), precisions=("fp32",))
    made = export(module, folder=path.parent / "made", spec=spec, calibration=inputs, check=inputs)
    made.models[0].path.rename(path)


FUNCTION = '''
"""The same network, from a file of one's own."""
import numpy as np
import torch


def load(*, weights):
    arrays = [torch.from_numpy(array) for array in np.load(weights).values()]
    network = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    network.load_state_dict(dict(zip(network.state_dict(), arrays)))
    return network
'''


@pytest.mark.slow
def test_a_teacher_is_the_same_wherever_it_comes_from(recipe: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_run = run(SOFT)
    weights = torch_run.run.models[0].path
    tensors = safetensors.load_file(weights)
    (b1, b2) = sorted((value for value in tensors.values() if value.ndim == 1), key=len, reverse=True)
    (w1, w2) = sorted((value for value in tensors.values() if value.ndim == 2), key=len, reverse=True)
    network = Perceptron(w1, b1, w2, b2)
    folder = recipe.parent
    with np.load(folder / "clouds.npz") as data:
        inputs, labels, learned = data["x_test"], data["y_test"], data["x_train"]
    right = tuple((network.logits(inputs).argmax(1) == labels).astype(float))
    write_onnx(network, folder / "teacher.onnx")
    write_tflite(network, folder / "teacher.tflite")
    np.savez(folder / "logits.npz", logits=network.logits(learned).astype(np.float32))
    np.savez(folder / "own.npz", w1=w1, b1=b1, w2=w2, b2=b2)
    (folder / "elsewhere.py").write_text(FUNCTION)
    monkeypatch.delitem(__import__("sys").modules, "elsewhere", raising=False)
    expected = safetensors.load_file(torch_run.run.models[-1].path)
    score = torch_run.run.teachings["student"].ensemble_score
    for source, file, size in (
        ("onnx", "teacher.onnx", None),
        ("tflite", "teacher.tflite", None),
        ("logits", "logits.npz", None),
        ("elsewhere:load", "own.npz", 6 * 32 + 32 + 32 * 3 + 3),
    ):
        outcome = run(SOFT, f"teachers=[{{source='{source}', weights='{file}'}}]", out=source.partition(":")[0])
        (described,) = [each for each in outcome.run.models if each.role == "teacher"]
        assert (described.format, described.made_by) == ("other", source)
        assert described.size_bytes == (folder / file).stat().st_size
        if size:
            assert described.parameters == size
        assert outcome.run.teachings["student"].ensemble_score == score
        student = safetensors.load_file(outcome.run.models[-1].path)
        for key, value in expected.items():
            np.testing.assert_allclose(student[key], value, atol=5e-3, err_msg=f"{source}: {key}")
        measured = [each.samples for each in outcome.run.measurements if each.role == "teacher"]
        # Stored logits know no test samples.
        assert measured == ([] if source == "logits" else [right])
        # Where the file lies is nothing.
        (folder / file).rename(folder / f"moved-{file}")
        again = run(SOFT, f"teachers=[{{source='{source}', weights='moved-{file}'}}]", out=source.partition(":")[0])
        assert again.made == ()


def test_a_teacher_with_classes_in_another_order(recipe: Path, run: Run) -> None:
    """The order is told, found out where it is not, and told in the words of the recipe."""
    with np.load(recipe.parent / "clouds.npz") as data:
        inputs = data["x_train"]
    logits = inputs[:, [2, 0, 1]] * 4
    np.savez(recipe.parent / "logits.npz", logits=logits)
    teacher = "{source='logits', weights='logits.npz'%s}"
    with pytest.raises(EdgekdError, match=r'classes = \["2", "0", "1"\]'):
        run(SOFT, f"teachers=[{teacher % ''}]")
    told = run(SOFT, "teachers=[" + teacher % ", classes=['2', '0', '1']" + "]", out="told")
    np.savez(recipe.parent / "logits.npz", logits=inputs[:, :3] * 4)
    straight = run(SOFT, f"teachers=[{teacher % ''}]", out="straight")
    assert told.run.models[-1].sha256 == straight.run.models[-1].sha256
    # A file may say it itself, and hold probabilities of more classes.
    wide = np.exp(np.column_stack([logits, np.full(len(logits), -3.0)]))
    shares = (wide / wide.sum(axis=1, keepdims=True)).astype(np.float32)
    np.savez(recipe.parent / "logits.npz", logits=logits, classes=np.array(["2", "0", "1"]))
    named = run(SOFT, f"teachers=[{teacher % ''}]", out="named")
    assert named.run.models[-1].sha256 == straight.run.models[-1].sha256
    np.savez(recipe.parent / "logits.npz", logits=shares)
    both = teacher % ", output='probabilities', classes=['2', '0', '1', 'other']"
    probabilities = run(SOFT, f"teachers=[{both}]", out="probabilities")
    one, two = (safetensors.load_file(each.run.models[-1].path) for each in (straight, probabilities))
    for key, value in one.items():  # log p is the logits less one number a sample, which softmax does not see
        np.testing.assert_allclose(two[key], value, atol=5e-3)


def test_several_teachers_of_several_kinds(recipe: Path, run: Run) -> None:
    with np.load(recipe.parent / "clouds.npz") as data:
        np.savez(recipe.parent / "logits.npz", logits=data["x_train"][:, :3] * 4)
    both = "{model='mlp', train={epochs=3, batch_size=16}, weight=%s}, {source='logits', weights='logits.npz'}"
    outcome = run(SOFT, f"teachers=[{both % '3.0'}]", "distill.combine='probabilities'")
    teaching = outcome.run.teachings["student"]
    assert set(teaching.scores) == {"teacher-0", "teacher-1"}
    assert teaching.combine == "probabilities"
    assert [each.teacher for each in teaching.caches] == ["teacher-0", "teacher-1"]
    other: list[Model] = [
        run(SOFT, f"teachers=[{both % weight}]", f"distill.combine='{combine}'", out=f"{combine}-{weight}").run.models[
            -1
        ]
        for combine, weight in (("probabilities", "1.0"), ("logits", "3.0"), ("confidence", "3.0"))
    ]
    assert len({outcome.run.models[-1].sha256, *(each.sha256 for each in other)}) == 4
