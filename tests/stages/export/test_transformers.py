"""Classifiers of transformers: MobileNetV1 with published weights, and small ones trained here on digits."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from edgekd.errors import ConfigError, DataError, EdgekdError, ModelError
from edgekd.records import ExportSpec, QuantSpec
from edgekd.stages.export import export_given, kind_of
from edgekd.stages.export.transformers import export_transformers

TEXT = {"vocab_size": 50, "dim": 16, "n_heads": 2, "n_layers": 1, "hidden_dim": 32, "num_labels": 3, "pad_token_id": 0}
PREPROCESSING = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5]}
_LOADED = load_digits()
IMAGES: NDArray[np.float32] = (_LOADED.images[:, None] / 8 - 1).astype(np.float32)  # 0 to 16 becomes -1 to 1
LABELS = _LOADED.target


def spec(*precisions: str, formats: tuple[Any, ...] = ("onnx",), samples: int = 64) -> ExportSpec:
    return ExportSpec(formats=formats, precisions=precisions, calibration=QuantSpec(samples=samples))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10
    )
    network = transformers.ResNetForImageClassification(config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    inputs, labels = torch.from_numpy(IMAGES[:1200]), torch.from_numpy(LABELS[:1200])
    # Digits are 8 x 8, and ResNet's stem halves twice.
    inputs = torch.nn.functional.interpolate(inputs, scale_factor=4.0)
    for _ in range(12):
        for batch in torch.randperm(len(inputs)).reshape(-1, 100):
            loss = torch.nn.functional.cross_entropy(network(pixel_values=inputs[batch]).logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
    folder = tmp_path_factory.mktemp("hub") / "my digits"
    network.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({**PREPROCESSING, "image_std": [0.5]}))
    return folder


def bigger(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images.repeat(4, axis=2).repeat(4, axis=3)


def run_onnx(file: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    import onnxruntime

    found: NDArray[np.float32] = onnxruntime.InferenceSession(file).run(None, {"input": inputs})[0]
    return found


def run_tflite(file: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(taken["index"], sample[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(given["index"])[0])
    return np.stack(outputs)


@pytest.mark.slow
def test_integers_cost_a_trained_classifier_at_most_a_point(trained: Path, tmp_path: Path) -> None:
    wanted = ExportSpec(
        formats=("onnx", "tflite"),
        precisions=("fp32", "static_wi8_ai8"),
        calibration=QuantSpec(samples=200),
        io="float32",
    )
    made = export_given(str(trained), samples=bigger(IMAGES[:600]), folder=tmp_path / "a folder", spec=wanted)
    files = {model.name.removeprefix("my digits."): model.path for model in made.models}
    assert list(files) == ["fp32.onnx", "static_wi8_ai8.onnx", "fp32.tflite", "static_wi8_ai8.tflite"]
    network = transformers.ResNetForImageClassification.from_pretrained(trained).eval()
    inputs, labels = bigger(IMAGES[1200:]), LABELS[1200:]
    with torch.inference_mode():
        expected = network(pixel_values=torch.from_numpy(inputs)).logits.numpy()
    last = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
    outputs = {name: run_onnx(file, inputs) for name, file in files.items() if name.endswith("onnx")}
    outputs |= {name: run_tflite(file, last) for name, file in files.items() if name.endswith("tflite")}
    for name in ("fp32.onnx", "fp32.tflite"):
        np.testing.assert_allclose(outputs[name], expected, atol=1e-3)
    accuracy = (expected.argmax(1) == labels).mean()
    assert accuracy > 0.9
    for name in ("static_wi8_ai8.onnx", "static_wi8_ai8.tflite"):
        assert (outputs[name].argmax(1) == labels).mean() >= accuracy - 0.01
    assert {model.parent_sha256 for model in made.models} != {None}


@pytest.mark.slow
def test_published_weights_give_what_the_published_file_gives(shared_data: Path, tmp_path: Path) -> None:
    # MobileNetV1-0.25 as TensorFlow published it for TFLite, its weights put into the network of transformers.
    published = shared_data / "models/mobilenet_v1_025/mobilenet_v1_0.25_224_1_default_1.tflite"
    _mobilenet(published).save_pretrained(tmp_path / "mobilenet")
    photos = np.stack([_photo(file) for file in sorted((shared_data / "imagenet_100").glob("*.JPEG"))[:40]])
    made = export_transformers(
        tmp_path / "mobilenet",
        samples=np.ascontiguousarray(photos.transpose(0, 3, 1, 2)),
        folder=tmp_path / "out",
        spec=spec("fp32", formats=("tflite",)),
    )
    logits = run_tflite(made.models[0].path, photos).astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, run_tflite(published, photos), atol=1e-4)


def _mobilenet(published: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(published))
    interpreter.allocate_tensors()
    stored = {
        each["name"].removeprefix("MobilenetV1/").removeprefix("MobilenetV1/"): torch.tensor(
            interpreter.get_tensor(each["index"])
        )
        for each in interpreter.get_tensor_details()
        if "weights" in each["name"] or "bias" in each["name"]
    }
    config = transformers.MobileNetV1Config(depth_multiplier=0.25, num_labels=1001, layer_norm_eps=1e-12)
    network = transformers.MobileNetV1ForImageClassification(config).eval()
    layers = [network.mobilenet_v1.conv_stem, *network.mobilenet_v1.layer]
    names = ["Conv2d_0", *(f"Conv2d_{block}_{kind}" for block in range(1, 14) for kind in ("depthwise", "pointwise"))]
    with torch.no_grad():
        for name, layer in zip(names, layers, strict=True):
            depthwise = name.endswith("depthwise")
            weights = stored[f"{name}/depthwise_weights" if depthwise else f"{name}/weights"]
            layer.convolution.weight.copy_(weights.permute(3, 0, 1, 2) if depthwise else weights.permute(0, 3, 1, 2))
            # The published file has its normalization folded; a new one does nothing.
            layer.normalization.bias.copy_(stored[f"{name}/depthwise_bias" if depthwise else f"{name}/Conv2D_bias"])
        network.classifier.weight.copy_(stored["Logits/Conv2d_1c_1x1/weights"][:, 0, 0])
        network.classifier.bias.copy_(stored["Logits/Conv2d_1c_1x1/Conv2D_bias"])
    return network


def _photo(file: Path) -> NDArray[np.float32]:
    return np.asarray(Image.open(file).convert("RGB").resize((224, 224)), np.float32) / np.float32(127.5) - 1


@pytest.mark.slow
def test_text_goes_in_as_tokens_in_every_precision(tmp_path: Path) -> None:
    # What a text is, its first word says: a network that learned it is sure, and rounding must not change its mind.
    random = np.random.default_rng(0)
    tokens = random.integers(1, 50, (360, 6))
    for row, length in zip(tokens, random.integers(1, 7, 360), strict=True):
        row[length:] = 0
    labels = torch.from_numpy(tokens[:, 0] % 3)
    torch.manual_seed(0)
    network = transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**TEXT, dropout=0.0))
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    ids = torch.from_numpy(tokens)
    for _ in range(60):
        logits = network(input_ids=ids, attention_mask=(ids != 0).long()).logits
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimizer.step()
    network.eval().save_pretrained(tmp_path / "text")
    samples = tokens.astype(np.float32)
    precisions = (
        "fp32",
        "fp16",
        "dynamic_wi8_afp32",
        "static_wi8_ai8",
        "weight_only_wi8_afp32",
        "weight_only_wi4_afp32",
    )
    wanted = spec(*precisions, formats=("onnx", "tflite"), samples=100)
    made = export_transformers(tmp_path / "text", samples=samples, folder=tmp_path / "out", spec=wanted)
    with torch.inference_mode():
        expected = network(input_ids=ids, attention_mask=(ids != 0).long()).logits.numpy()
    assert (expected.argmax(1) == labels.numpy()).mean() > 0.99
    for model in made.models:
        assert model.inputs[0].dtype == ("int64" if model.format == "onnx" else "int32")
        taken = tokens.astype(model.inputs[0].dtype)
        found = run_onnx(model.path, taken) if model.format == "onnx" else run_tflite(model.path, taken)
        assert (found.argmax(1) == labels.numpy()).mean() > (0.9 if "wi4" in model.precision else 0.97), model.name
        if model.precision == "fp32":
            np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(DataError, match=r"token 50; allowed: 0 to 49"):
        export_transformers(tmp_path / "text", samples=samples + 1, folder=tmp_path, spec=spec("fp32"))
    with pytest.raises(DataError, match=r"from 0\.5 to .*allowed: tokens \(N, T\), whole"):
        export_transformers(tmp_path / "text", samples=samples + 0.5, folder=tmp_path, spec=spec("fp32"))
    with pytest.raises(ConfigError, match=r"lengths = dynamic of onnx and tflite; allowed: fixed, or formats = onnx"):
        export_transformers(
            tmp_path / "text", samples=samples, folder=tmp_path, spec=replace(wanted, lengths="dynamic")
        )


@pytest.mark.slow
def test_sounds_go_through_weights_that_are_computed(tmp_path: Path) -> None:
    # Wav2Vec2 normalizes the weights of one convolution as it runs, and calls itself a classifier of sequences.
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32, "num_hidden_layers": 1}
    filters = {"conv_dim": (16, 16), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    config = transformers.Wav2Vec2Config(
        **sizes, **filters, **positions, vocab_size=32, num_labels=3, classifier_proj_size=16
    )
    network = transformers.Wav2Vec2ForSequenceClassification(config).eval()
    network.save_pretrained(tmp_path / "sound")
    sounds = np.sin(np.arange(400) / np.random.default_rng(0).uniform(2, 30, (20, 1))).astype(np.float32)
    made = export_transformers(tmp_path / "sound", samples=sounds, folder=tmp_path / "out", spec=spec("fp32"))
    with torch.inference_mode():
        expected = network(input_values=torch.from_numpy(sounds)).logits.numpy()
    np.testing.assert_allclose(run_onnx(made.models[0].path, sounds), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (
            bigger(_LOADED.images[:100, None]),
            DataError,
            r"from 0 to 16; allowed: -1 to 1, as preprocessor_config\.json",
        ),
        (IMAGES[:100, 0, 0], ModelError, r"can't take samples of shape \(8,\)"),
    ],
)
def test_samples_that_are_not_as_the_network_takes_them_are_refused(
    trained: Path, tmp_path: Path, samples: NDArray[np.float64], error: type[EdgekdError], message: str
) -> None:
    with pytest.raises(error, match=message):
        export_transformers(
            trained, samples=samples.astype(np.float32), folder=tmp_path / "out", spec=spec("static_wi8_ai8")
        )
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_numbers_are_named(trained: Path, tmp_path: Path) -> None:
    for file in trained.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    state["classifier.1.bias"][3] = torch.nan
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"'network\.classifier\.1\.bias' holds numbers that are not finite"):
        export_transformers(tmp_path, samples=bigger(IMAGES[:100]), folder=tmp_path / "out", spec=spec("fp32"))


def test_folders_are_told_by_what_lies_in_them(trained: Path, tmp_path: Path) -> None:
    assert kind_of(str(trained)) == "transformers"
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    assert kind_of(str(tmp_path)) == "keras"
    with pytest.raises(ModelError, match=r"the folder holds no network; allowed: saved_model\.pb"):
        kind_of(str(trained.parent))
    command = ["export", str(trained.parent), "--precision", "fp32", "--calibration", "x.npy"]
    done = subprocess.run(
        [sys.executable, "-m", "edgekd", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "the folder holds no network" in done.stderr
