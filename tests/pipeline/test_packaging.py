"""What a run tells its packagers: from the data, from what was measured, from the recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd import pipeline, records
from edgekd.config import load_recipe
from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError
from edgekd.pipeline.packaging import Facts, cargos_of, figures_of
from edgekd.pipeline.workspace import Workspace
from edgekd.progress import Silent
from edgekd.records import Conditions, Measurement, Model, Package, Vectors
from edgekd.store import read_json

pytest.importorskip("torch")
Run = Callable[..., pipeline.Outcome]
SAID = (
    'package.title="Clouds"',
    'package.licence="MIT OR Apache-2.0"',
    'package.author="A. N. Other"',
    'package.limits="Not for rain."',
)


def dataset(inputs: np.ndarray, scale: float = 1.0, **more: object) -> Dataset:
    split = Split(inputs=inputs, labels=np.arange(len(inputs)) % 2)
    return Dataset(classes=("no", "yes"), scale=scale, train=split, validation=split, test=split, **more)  # type: ignore[arg-type]


def test_pixels_are_an_image_whose_range_the_scale_tells() -> None:
    facts = Facts.of(dataset(np.zeros((4, 3, 8, 8), np.uint8), 1 / 255))
    assert (facts.content, facts.raw_range, facts.mean, facts.std) == ("image", (0.0, 255.0), (), ())
    assert Facts.of(dataset(np.zeros((4, 1, 8, 8), np.uint8), 1 / 16)).raw_range == (0.0, 16.0)
    # Floats and other scales tell no range; two channels, or lists of numbers, are no picture.
    assert Facts.of(dataset(np.zeros((4, 1, 8, 8), np.float32))).raw_range is None
    assert Facts.of(dataset(np.zeros((4, 2, 8, 8), np.float32))).content == "features"
    assert Facts.of(dataset(np.zeros((4, 8), np.float32))).content == "features"


def test_standardised_features_become_mean_and_std_of_raw_values() -> None:
    mean, deviation, scale = [1.0, -2.0, 30.0], [0.5, 4.0, 2.0], 0.25
    told = {"features": ["a", "b", "c"], "standardised_axis": 1, "mean": mean, "deviation": deviation}
    facts = Facts.of(dataset(np.zeros((4, 3), np.float32), scale, front_end=told))
    raw = np.random.default_rng(0).normal(size=(5, 3))
    network = (raw - mean) / np.array(deviation) * scale
    np.testing.assert_allclose((raw * scale - facts.mean) / np.array(facts.std), network)
    assert facts.front_end == {"features": "a, b, c"}
    # A file that takes raw values does it itself.
    facts = Facts.of(dataset(np.zeros((4, 3), np.float32), scale, front_end=told), raw_input=True)
    assert (facts.mean, facts.std, facts.front_end) == ((), (), {"features": "a, b, c"})


def test_a_card_shows_no_time_that_proves_nothing() -> None:
    model = Model(
        name="m.tflite",
        path=Path("m.tflite"),
        format="tflite",
        precision="fp32",
        role="student",
        sha256="5e1f",
        size_bytes=9,
    )
    times = [
        Measurement(
            model_sha256="5e1f",
            model="m.tflite",
            format="tflite",
            precision="fp32",
            role="student",
            target=target,
            metric="latency",
            unit="s",
            samples=(0.01,) * 60,
            conditions=Conditions(tainted=tainted),
        )
        for target, tainted in (("host", ""), ("pi", "throttled"))
    ]
    run = records.Run(name="", folder=Path(), recipe="", models=(model,), measurements=tuple(times))
    found = [(each.name, each.target) for each in figures_of(run, model)]
    assert found == [("file_size", ""), ("latency p50", "host"), ("latency p90", "host")]


def test_a_spectrogram_is_audio_and_tells_its_front_end() -> None:
    told = {"sample_rate": 16000, "remove_dc_offset": True, "mean": [0.0, 1.0], "deviation": [1.0, 1.0]}
    facts = Facts.of(dataset(np.zeros((4, 1, 49, 2), np.float32), front_end={**told, "standardised_axis": 3}))
    assert facts.content == "audio"
    # Its bins are neither channels nor features of the file's input.
    assert (facts.mean, facts.std) == ((), ())
    assert facts.front_end == {
        "sample_rate": 16000,
        "remove_dc_offset": "true",
        "mean": "0.0, 1.0",
        "deviation": "1.0, 1.0",
        "standardised_axis": 3,
    }


def test_a_card_says_what_the_recipe_and_the_measurements_say(packaged: Path, run: Run, recipe: Path) -> None:
    outcome = run(*SAID, until="package")
    assert (outcome.made, outcome.run.folder) == (("package",), packaged)
    place = outcome.run.folder / "package" / "onnx" / "student.fp32"
    card = (place / "README.md").read_text()
    assert 'license: "mit or apache-2.0"' in card
    for line in (
        "# Clouds",
        "Author: A. N. Other.",
        "Not for rain.",
        "- teacher-0 (mlp), ",
        "300 training, 100 validation",
    ):
        assert line in card
    measured = {(each.metric, each.target): each for each in outcome.run.measurements if "onnx" in each.model}
    accuracy = np.mean(measured["accuracy", "host"].samples)
    assert f"| accuracy | {accuracy * 100:.2f} % | host | measured |" in card
    assert 'title="Clouds"' in card  # --set is part of how it was made
    assert load_recipe(str(recipe)).text.strip() in card
    props = json.loads(_properties(place / "student.fp32.metadata.onnx")["labels"])
    assert props == ["0", "1", "2"]


def _properties(path: Path) -> dict[str, str]:
    import onnxruntime

    return dict(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map)


def test_the_file_with_metadata_predicts_what_the_measured_one_does(packaged: Path, recipe: Path) -> None:
    import onnxruntime

    folder = packaged
    (package,) = read_json(folder / "package" / "packages.json", list[Package])
    (ours,) = [file for file in package.files if file.packager == "onnx_metadata"]
    paths = [folder / "export" / package.model, folder / "package" / package.folder / ours.path]
    assert ours.sha256 != package.model_sha256
    samples = np.load(recipe.parent / "clouds.npz")["x_test"]
    outputs = []
    for path in paths:
        session = onnxruntime.InferenceSession(path)
        outputs.append(session.run(None, {session.get_inputs()[0].name: samples})[0])
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert (outputs[0].argmax(1) == np.load(recipe.parent / "clouds.npz")["y_test"]).mean() > 0.5


def test_vectors_are_validation_samples_with_the_file_s_outputs(packaged: Path, recipe: Path) -> None:
    import onnxruntime

    space = Workspace(load_recipe(str(recipe), ["package.vectors=3"]), packaged, Silent())
    (cargo,) = cargos_of(space, pipeline.open_run(packaged)).values()
    assert isinstance(cargo.vectors, Vectors)
    validation = {tuple(row) for row in space.data.ready(space.data.validation).tolist()}
    assert len(cargo.vectors.inputs) == 3
    assert {tuple(row) for row in cargo.vectors.inputs.tolist()} <= validation
    session = onnxruntime.InferenceSession(cargo.model.path)
    outputs = session.run(None, {session.get_inputs()[0].name: cargo.vectors.inputs})[0]
    np.testing.assert_allclose(cargo.vectors.outputs, outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("packaged")
def test_packages_are_made_again_when_what_they_say_changes_and_only_then(run: Run) -> None:
    assert run(until="package").made == ()
    assert run("budgets.0.limit='2 MB'", until="package").made == ()
    assert run('package.title="Clouds"', until="package").made == ("package",)
    folder = run("package.packagers=[]", until="package").run.folder
    # What the recipe no longer asks for is gone.
    assert sorted(path.name for path in (folder / "package").rglob("*")) == ["packages.json", "stage.json"]
    assert set(pipeline.verify(folder).values()) == {"ok"}
    named = run("package.packagers=[{ name='snippets', languages=['python'] }]", until="package")
    assert named.made == ("package",)
    files = [path.name for path in (folder / "package").rglob("*.py")]
    assert files == ["student.fp32_snippet.py"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("package.licence='Apache'", r"package.licence: licence 'Apache'"),
        ("package.packagers=[{ name='c_source' }]", r"'c_source' has no file to package; allowed: formats tflite"),
        ("package.packagers=[{ name='vella' }]", r"unknown packager 'vella'"),
        ("package.packagers=[{ name='snippets', langages=['python'] }]", r"unknown key 'langages'"),
        ("package.packagers=[{ name='ort', platform='riscv' }]", r"platform: 'riscv'"),
        ("package.packagers=[{ name='ort' }, { name='ort' }]", r"'ort' is there twice"),
        ("package.content='video'", r"package.content: 'video'"),
        ("package.vectors=-1", r"package.vectors: -1"),
    ],
)
def test_what_a_recipe_says_of_packages_is_checked_before_the_work(recipe: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_recipe(str(recipe), [override])


def test_a_tool_that_a_recipe_names_must_be_there_before_the_work(
    recipe: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    from edgekd.errors import MissingExtraError

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "ethosu" else find(name, *more)
    )
    with pytest.raises(MissingExtraError, match="npu"):
        run("package.packagers=[{ name='vela' }]", "export.formats=['tflite']", until="package")
    assert not (recipe.parent / "run" / "teachers").exists()
