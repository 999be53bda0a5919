"""TFLite metadata: the model stays what it is. `tests/peers` reads it with the clients that it is for."""

import dataclasses
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekd.errors import ExportError, ModelError
from edgekd.packagers.tflite_metadata import pack
from edgekd.records import Cargo


def run(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    found = []
    for each in inputs:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], each[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(found)


def entries(path: Path) -> dict[bytes, bytes]:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))
    return {each.name: bytes(model.buffers[each.buffer].data) for each in model.metadata}


def test_file_predicts_what_it_did_to_the_last_bit(
    float_resnet: Cargo, cifar: tuple[NDArray[np.uint8], tuple[str, ...]], tmp_path: Path
) -> None:
    (path,) = pack(cargo=float_resnet, folder=tmp_path)
    inputs = cifar[0].astype(np.float32)
    np.testing.assert_array_equal(run(path, inputs), run(float_resnet.model.path, inputs))


def test_labels_are_stored_in_a_zip_file_at_the_end(float_resnet: Cargo, tmp_path: Path) -> None:
    (path,) = pack(cargo=float_resnet, folder=tmp_path)
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.infolist()
        # Readers map the bytes as they are.
        assert member.compress_type == zipfile.ZIP_STORED
        assert archive.read("labels.txt").decode().split() == list(float_resnet.labels)


def test_entry_has_the_identifier_of_the_schema_and_keeps_the_others(float_resnet: Cargo, tmp_path: Path) -> None:
    (path,) = pack(cargo=float_resnet, folder=tmp_path)
    found = entries(path)
    assert found[b"TFLITE_METADATA"][4:8] == b"M001"
    assert found[b"min_runtime_version"] == entries(float_resnet.model.path)[b"min_runtime_version"]


def test_metadata_and_labels_that_were_there_are_replaced(shared_data: Path, make_cargo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """This file came with metadata, and with a zip file that holds 1001 labels."""
    path = shared_data / "models/mobilenet_v1_025/mobilenet_v1_0.25_224_quant.tflite"
    labels = tuple(f"class {index}" for index in range(1001))
    # Real pixels are (x - 128) / 128, as its scale of 1 / 128 and its zero point of 128 have it.
    cargo = make_cargo(path, "static_wi8_ai8", content="image", labels=labels, mean=(128.0,), std=(128.0,))
    (made,) = pack(cargo=cargo, folder=tmp_path)
    (again,) = pack(
        cargo=dataclasses.replace(cargo, model=dataclasses.replace(cargo.model, path=made)), folder=tmp_path
    )
    for each in (made, again):
        with zipfile.ZipFile(each) as archive:
            assert archive.namelist() == ["labels.txt"]
            assert archive.read("labels.txt").decode().splitlines() == list(labels)
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(each.read_bytes(), 0))
        assert [entry.name for entry in model.metadata] == [b"TFLITE_METADATA"]


def test_uint8_file_that_does_not_take_pixels_as_they_are_is_refused(  # type: ignore[no-untyped-def]
    shared_data: Path, make_cargo, tmp_path: Path
) -> None:
    path = shared_data / "models/mobilenet_v1_025/mobilenet_v1_0.25_224_quant.tflite"
    cargo = make_cargo(path, "static_wi8_ai8", content="image", input_scale=1 / 255)
    with pytest.raises(ExportError, match=r"pixels are not what the file takes: scale 0\.0078125, zero point 128"):
        pack(cargo=cargo, folder=tmp_path)


def test_int8_image_is_warned_of(int8_resnet: Cargo, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgekd"):
        pack(cargo=int8_resnet, folder=tmp_path)
    assert "task libraries open no file with int8 input" in caplog.text


def test_normalization_of_each_channel_is_warned_of_where_the_channels_differ(
    float_resnet: Cargo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "edgekd"):
        pack(cargo=dataclasses.replace(float_resnet, mean=(127.5,) * 3, std=(63.0,) * 3), folder=tmp_path)
        assert not caplog.text
        pack(cargo=dataclasses.replace(float_resnet, mean=(123.0, 116.0, 103.0), std=(58.0,)), folder=tmp_path)
    assert "do not normalize each channel" in caplog.text


def test_image_of_two_channels_is_refused(float_resnet: Cargo, tmp_path: Path) -> None:
    spec = dataclasses.replace(float_resnet.model.inputs[0], shape=(1, 32, 32, 2))
    model = dataclasses.replace(float_resnet.model, inputs=(spec,))
    with pytest.raises(ExportError, match="an image of shape"):
        pack(cargo=dataclasses.replace(float_resnet, model=model), folder=tmp_path)


def test_file_with_two_inputs_is_refused(shared_data: Path, make_cargo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ExportError, match="2 inputs"):
        pack(cargo=make_cargo(shared_data / "models/dtln/model_1.tflite"), folder=tmp_path)


def test_label_of_two_lines_is_refused(float_resnet: Cargo, tmp_path: Path) -> None:
    labels = ("air\nplane", *float_resnet.labels[1:])
    with pytest.raises(ExportError, match="one line"):
        pack(cargo=dataclasses.replace(float_resnet, labels=labels), folder=tmp_path)


@pytest.mark.parametrize("content", [b"not a model", b"    TFL3", b"    TFL3" + bytes(range(200))])
def test_damaged_file_is_an_error(content: bytes, float_resnet: Cargo, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content)
    model = dataclasses.replace(float_resnet.model, path=path)
    with pytest.raises(ModelError):
        pack(cargo=dataclasses.replace(float_resnet, model=model), folder=tmp_path / "out")
