"""Files nobody here wrote, packaged as a run does it: what is chosen, what is left out, and what copies predict."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd import store
from edgekd.config import load_target
from edgekd.errors import ExportError, MissingExtraError
from edgekd.records import Cargo, Finding, PackagerTerm
from edgekd.stages.benchmark import describe_file
from edgekd.stages.package import package

RESNET = "models/mlperf_tiny/image_classification/pretrainedResnet"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="module")
def int8(shared_data: Path) -> Cargo:
    return Cargo(model=describe_file(shared_data / f"{RESNET}_quant.tflite"), labels=CLASSES, head="probabilities")


@pytest.fixture
def dense(tmp_path: Path) -> Cargo:
    """An ONNX file of 4 inputs and 3 outputs."""
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), tmp_path / "dense.onnx"
    )
    return Cargo(model=describe_file(tmp_path / "dense.onnx"), labels=("a", "b", "c"))


def packers(names: list[str]) -> list[PackagerTerm]:
    return [PackagerTerm(name=name) for name in names]


def test_what_suits_a_file_and_its_targets_is_packed_and_recorded(int8: Cargo, dense: Cargo, tmp_path: Path) -> None:
    made = package(
        {"tflite/resnet": int8, "onnx/dense": dense},
        folder=tmp_path / "package",
        targets=[load_target("host"), load_target("cortex-m4")],
    )
    by_model = {each.model: each for each in made}
    packed, other = by_model["pretrainedResnet_quant.tflite"], by_model["dense.onnx"]
    assert {file.packager for file in packed.files} == {"c_source", "model_card", "snippets", "tflite_metadata"}
    assert {file.packager for file in other.files} == {"model_card", "onnx_metadata", "ort", "snippets"}
    on_disk = {path.relative_to(tmp_path / "package").as_posix() for path in (tmp_path / "package").rglob("*.*")}
    listed = {f"{each.folder}/{file.path}": file.sha256 for each in made for file in each.files}
    assert {*listed} == on_disk
    assert all(store.sha256_of(tmp_path / "package" / name) == digest for name, digest in listed.items())
    assert (packed.model_sha256, packed.folder) == (int8.model.sha256, "tflite/resnet")


def test_vela_compiles_for_each_accelerator_of_the_targets(int8: Cargo, tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    small = tmp_path / "u65.toml"
    small.write_text('description = "a U65"\nruntimes = ["tflite_micro"]\naccelerator = "ethos-u65-256"\n')
    targets = [load_target("ethos-u55-128"), load_target(str(small))]
    (one,) = package({".": int8}, folder=tmp_path / "one", targets=targets[:1], packagers=packers(["vela"]))
    assert {file.path for file in one.files} == {
        "pretrainedResnet_quant_vela.tflite",
        "pretrainedResnet_quant_vela.json",
    }
    (both,) = package({".": int8}, folder=tmp_path / "both", targets=targets, packagers=packers(["vela"]))
    summaries = {file.path for file in both.files if file.path.endswith(".json")}
    assert summaries == {f"{name}/pretrainedResnet_quant_vela.json" for name in ("ethos-u55-128", "ethos-u65-256")}
    assert all(each.split("/")[0] in (tmp_path / "both" / each).read_text() for each in summaries)


def test_another_configuration_of_one_accelerator_is_another_file(int8: Cargo, tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    slow = tmp_path / "slow.toml"
    slow.write_text('like = "ethos-u55-128"\nsystem_config = "Ethos_U55_Deep_Embedded"\n')
    targets = [load_target("ethos-u55-128"), load_target(str(slow)), load_target("ethos-u65-256")]
    (made,) = package({".": int8}, folder=tmp_path / "out", targets=targets, packagers=packers(["vela"]))
    summaries = {
        file.path: json.loads((tmp_path / "out" / file.path).read_text())
        for file in made.files
        if file.path.endswith("json")
    }
    name = "pretrainedResnet_quant_vela.json"
    assert {*summaries} == {f"{folder}/{name}" for folder in ("ethos-u55-128", "slow", "ethos-u65-256")}
    assert summaries[f"slow/{name}"]["system_config"] == "Ethos_U55_Deep_Embedded"
    # The published estimates of MLPerf Tiny's ResNet-8 with the fast configuration; the slow clock takes more.
    fast, deep = (summaries[f"{folder}/{name}"]["inference_s"] for folder in ("ethos-u55-128", "slow"))
    assert fast == pytest.approx(0.403e-3, rel=0.01)
    assert deep > 1.5 * fast


def test_a_target_that_lint_refuses_the_file_on_is_not_packaged_for(int8: Cargo, tmp_path: Path) -> None:
    from dataclasses import replace

    refused = Finding(rule="dynamic_shape", severity="error", target="cortex-m4", what="", next_step="")
    (made,) = package(
        {".": replace(int8, findings=(refused,))}, folder=tmp_path / "package", targets=[load_target("cortex-m4")]
    )
    assert "c_source" not in {file.packager for file in made.files}


@pytest.fixture
def without_vela(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Vela."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "ethosu" else find(name, *more)
    )


@pytest.mark.usefixtures("without_vela")
def test_a_tool_that_is_missing_is_a_line_unless_it_was_named(
    int8: Cargo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    targets = [load_target("ethos-u55-128")]
    with caplog.at_level(logging.WARNING, logger="edgekd"):
        (made,) = package({".": int8}, folder=tmp_path / "package", targets=targets)
    assert "c_source" in {file.packager for file in made.files}
    assert list(made.left_out) == ["vela"]
    assert "pip install 'edgekd[npu]'" in made.left_out["vela"]
    assert f"no vela: {made.left_out['vela']}" in caplog.text
    assert not list((tmp_path / "package").glob("*vela*"))
    with pytest.raises(MissingExtraError, match="npu"):
        package({".": int8}, folder=tmp_path / "named", targets=targets, packagers=packers(["vela"]))


def test_a_named_packager_that_refuses_every_file_is_an_error(dense: Cargo, int8: Cargo, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'c_source' has no file to package"):
        package({".": dense}, folder=tmp_path / "a", packagers=packers(["c_source"]))
    wrong = Cargo(model=int8.model, labels=("too", "few"))
    with pytest.raises(ExportError, match="2 labels for 10 outputs"):
        package({".": wrong}, folder=tmp_path / "b", packagers=packers(["tflite_metadata"]))
    # One file that it takes is enough; the other is left out.
    made = package({"a": wrong, "b": int8}, folder=tmp_path / "c", packagers=packers(["tflite_metadata"]))
    assert [len(each.files) for each in made] == [0, 1]
    assert "2 labels for 10 outputs" in made[0].left_out["tflite_metadata"]


OWN = '''
"""Packagers of the user's own."""
from pathlib import Path

FORMATS = ("onnx",)
KEEPS = "bits"


def twice(*, cargo, folder: Path, power: int = 1) -> tuple[Path, ...]:
    """Write a file whose weights are doubled."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(cargo.model.path)
    weights = numpy_helper.to_array(model.graph.initializer[0]) * 2.0**power
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    onnx.save(model, folder / "twice.onnx")
    return (folder / "twice.onnx",)


def card(*, cargo, folder: Path) -> tuple[Path, ...]:
    """Write a README of its own."""
    (folder / "README.md").write_text("mine")
    return (folder / "README.md",)


def stray(*, cargo, folder: Path) -> tuple[Path, ...]:
    """Name a file that it did not write."""
    return (cargo.model.path,)
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_packagers.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("own")
def test_a_copy_that_predicts_otherwise_is_refused(dense: Cargo, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"twice.onnx: its outputs are up to [\d.]+ off those of dense.onnx"):
        package({".": dense}, folder=tmp_path / "p", packagers=packers(["own_packagers:twice"]))
    same = PackagerTerm(name="own_packagers:twice", options={"power": 0})
    (made,) = package({".": dense}, folder=tmp_path / "p", packagers=[same])
    assert [file.path for file in made.files] == ["twice.onnx"]


@pytest.mark.usefixtures("own")
def test_packagers_stay_in_their_folder_and_out_of_each_other_s_way(dense: Cargo, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"both write README\.md"):
        package({".": dense}, folder=tmp_path / "p", packagers=packers(["model_card", "own_packagers:card"]))
    with pytest.raises(ExportError, match="which it did not write into its folder"):
        package({".": dense}, folder=tmp_path / "p", packagers=packers(["own_packagers:stray"]))
    assert dense.model.path.is_file()


def test_a_file_that_was_changed_since_is_not_packaged_as_measured(int8: Cargo, tmp_path: Path) -> None:
    from dataclasses import replace

    copy = tmp_path / int8.model.path.name
    shutil.copyfile(int8.model.path, copy)
    copy.write_bytes(copy.read_bytes() + b"!")
    cargo = replace(int8, model=replace(int8.model, path=copy))
    with pytest.raises(ExportError, match="not the file that was measured"):
        package({".": cargo}, folder=tmp_path / "p", packagers=packers(["model_card"]))
