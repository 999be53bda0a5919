"""Weights that load, and files that give one clear line instead."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.teachers.torch import load


def small_network(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, classes))


@pytest.fixture
def trained() -> nn.Sequential:
    torch.manual_seed(1)
    network = small_network()
    network(torch.randn(5, 1, 4, 4))  # so that the batch norm's statistics are not its first ones
    return network


def message(weights: Path, network: nn.Module | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        load(network=network or small_network(), weights=weights)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{weights}: ")
    return text


def repacked(whole: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def saved(content: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


WAYS: dict[str, Callable[[dict[str, Tensor]], bytes]] = {
    "safetensors": save,
    "zip": saved,
    "repacked zip": lambda state: repacked(saved(state)),
    "legacy": lambda state: saved(state, zipped=False),
    "checkpoint": lambda state: saved({"epoch": 3, "state_dict": state, "best": 0.9}),
    "DataParallel": lambda state: saved({f"module.{key}": value for key, value in state.items()}),
    "compiled": lambda state: saved({"model": {f"_orig_mod.module.{key}": value for key, value in state.items()}}),
    "torch 0.4.0": lambda state: saved({key: state[key] for key in state if "num_batches" not in key}),
    "fp16": lambda state: saved({key: each.half() if each.ndim else each for key, each in state.items()}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_saving_gives_the_same_frozen_network(tmp_path: Path, trained: nn.Sequential, way: str) -> None:
    state = dict(trained.state_dict())
    file = tmp_path / "weights"
    file.write_bytes(WAYS[way](state))
    network = small_network()
    teacher = load(network=network, weights=file)
    assert teacher is network
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    tolerance = 1e-3 if way == "fp16" else 0.0
    for key, value in teacher.state_dict().items():
        if "num_batches" not in key:
            assert value.dtype == state[key].dtype
            torch.testing.assert_close(value, state[key], rtol=tolerance, atol=tolerance)


class Malicious:
    """Runs a command when unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.witness}'",)


@pytest.mark.parametrize("way", ["zip", "legacy", "bare pickle", "bare pickle, protocol 0", "protocol 2"])
def test_code_in_a_file_does_not_run(tmp_path: Path, way: str) -> None:
    witness, file = tmp_path / "it-ran", tmp_path / "weights.pt"
    evil = {"0.weight": Malicious(witness)}
    if way == "zip":
        torch.save(evil, file)
    elif way == "legacy":
        torch.save(evil, file, _use_new_zipfile_serialization=False)
    else:
        file.write_bytes(pickle.dumps(evil, protocol={"bare pickle": 4, "protocol 2": 2}.get(way, 0)))
    text = message(file)
    assert not witness.exists()
    if way in ("zip", "legacy"):
        assert "refused: the file wants to run 'posix.system'" in text
    # The trap works: Python's own pickle runs it.
    pickle.loads(pickle.dumps(evil))  # noqa: S301 - that it is unsafe is the point
    assert witness.exists()


def test_a_whole_pickled_network_is_refused_with_what_to_do(tmp_path: Path, trained: nn.Sequential) -> None:
    torch.save(trained, tmp_path / "whole.pt")
    assert "Sequential" in (text := message(tmp_path / "whole.pt"))
    assert "save its state_dict()" in text


def test_files_that_are_no_weights_say_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert "no such file" in message(file)
    assert "not a file" in message(tmp_path)
    for content, words in (
        (b"", "the file is empty"),
        (b"hello", "not a weights file; allowed: safetensors or a torch state dict"),
        (b"\x1c\0\0\0TFL3" + bytes(100), "a TFLite model.*source = 'tflite'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=words):
            load(network=small_network(), weights=file)
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    file.write_bytes(buffer.getvalue())
    assert "a zip archive, but not one of torch" in message(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "holds a list"),
        ({}, "holds no tensors"),
        ({"epoch": 3}, "'epoch' is a int"),
        ({"state_dict": {"a": 1.0}}, "'a' is a float"),
        ({1: torch.ones(1)}, "not a state dict: 1 is a Tensor"),
        ({"a": torch.zeros(2, device="meta")}, "not a plain dense tensor"),
    ],
)
def test_other_contents_are_named(tmp_path: Path, content: object, words: str) -> None:
    torch.save(content, tmp_path / "weights.pt")
    assert words in message(tmp_path / "weights.pt")


def test_truncated_files_are_refused(tmp_path: Path, trained: nn.Sequential) -> None:
    for way in ("safetensors", "zip", "legacy"):
        whole = WAYS[way](dict(trained.state_dict()))
        for kept in (9, 40, len(whole) // 2, len(whole) - 4):
            (tmp_path / "weights").write_bytes(whole[:kept])
            assert len(message(tmp_path / "weights")) < 500


def test_a_flipped_bit_in_a_weight_is_noticed(tmp_path: Path, trained: nn.Sequential) -> None:
    file = tmp_path / "weights.pt"
    torch.save(trained.state_dict(), file)
    data = bytearray(file.read_bytes())
    data[data.index(trained.state_dict()["3.weight"].numpy().tobytes()) + 5] ^= 1
    file.write_bytes(data)
    assert "the checksum of" in message(file)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["safetensors", "zip", "legacy"]), st.integers(0, 2**32))
def test_damage_gives_an_error_of_ours_or_weights(
    tmp_path_factory: pytest.TempPathFactory, way: str, seed: int
) -> None:
    data = bytearray(WAYS[way](dict(small_network().state_dict())))
    chance = np.random.default_rng(seed)
    for _ in range(chance.choice([1, 2, 8, 40])):
        # Most of the structure lies at the start.
        data[chance.integers(min(len(data), chance.choice([64, 1000, 10**9])))] = chance.integers(256)
    file = tmp_path_factory.getbasetemp() / "damaged"
    file.write_bytes(data)
    try:
        load(network=small_network(), weights=file)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is fine, another exception is not


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "random"
    file.write_bytes(data)
    message(file)


def test_wrong_classes_are_said_in_numbers_of_classes(tmp_path: Path, trained: nn.Sequential) -> None:
    save_file(trained.state_dict(), tmp_path / "w")
    assert "the weights have 3 classes, the data 7" in message(tmp_path / "w", small_network(classes=7))


def test_another_network_is_told_by_its_keys_and_shapes(tmp_path: Path, trained: nn.Sequential) -> None:
    state = dict(trained.state_dict())
    renamed = {f"other{key}" if key.startswith("1.") else key: value for key, value in state.items()}
    save_file(renamed, tmp_path / "renamed")
    text = message(tmp_path / "renamed")
    assert "missing keys: 1.weight, 1.bias, 1.running_mean, and 1 more" in text
    assert "unexpected keys: other1.bias, other1.num_batches_tracked, other1.running_mean, and 2 more" in text
    state["0.weight"] = torch.zeros(2, 1, 5, 5)
    save_file(state, tmp_path / "shape")
    assert "0.weight is (2, 1, 5, 5), the network's (2, 1, 3, 3)" in message(tmp_path / "shape")


def test_weights_that_can_not_be_meant_are_refused(tmp_path: Path, trained: nn.Sequential) -> None:
    state = {key: value.clone() for key, value in trained.state_dict().items()}
    state["3.weight"][0, 0] = float("nan")
    save_file(state, tmp_path / "nan")
    assert "not a number, or infinite: 3.weight" in message(tmp_path / "nan")
    state["3.weight"] = torch.zeros(3, 8, dtype=torch.int8)
    save_file(state, tmp_path / "int8")
    assert "3.weight is torch.int8, the network's torch.float32" in message(tmp_path / "int8")


def test_the_network_is_left_alone_on_an_error(tmp_path: Path, trained: nn.Sequential) -> None:
    network = small_network(classes=7)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    save_file(trained.state_dict(), tmp_path / "w")
    message(tmp_path / "w", network)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert network.training
