"""Files for text task libraries: the same model with two inputs more. `tests/peers` reads them with those libraries."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgekd.errors import ExportError
from edgekd.packagers import tflite_metadata
from edgekd.packagers.text_task import pack
from edgekd.records import PackagerTerm, Tokens
from edgekd.stages.package import package
from tests.packagers.texts import LABELS, LENGTH, PIECES, cargo_of, logits_of, tokenizer_json, write_tflite

TOKENS = np.random.default_rng(1).integers(0, len(PIECES), (5, LENGTH))


def test_what_is_in_the_other_inputs_changes_nothing(tmp_path: Path) -> None:
    (path,) = pack(cargo=cargo_of(write_tflite(tmp_path / "m.tflite")), folder=tmp_path)
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    inputs, (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert [each["name"] for each in inputs] == ["ids", "mask", "segment_ids"]
    for tokens, expected in zip(TOKENS, logits_of(TOKENS), strict=True):
        for other in (0, 1):
            for each, values in zip(inputs, (tokens, tokens * 0 + other, tokens * 0 + 1 - other), strict=True):
                interpreter.set_tensor(each["index"], values[None].astype(np.int32))
            interpreter.invoke()
            np.testing.assert_allclose(interpreter.get_tensor(output["index"])[0], expected, atol=1e-6)


def test_vocabulary_and_labels_are_in_a_zip_file_at_the_end(tmp_path: Path) -> None:
    cargo = cargo_of(write_tflite(tmp_path / "m.tflite"))
    for made, names in (
        (pack, {"vocab.txt", "labels.txt"}),
        (tflite_metadata.pack, {"tokenizer.json", "vocab.txt", "labels.txt"}),
    ):
        (path,) = made(cargo=cargo, folder=tmp_path)
        with zipfile.ZipFile(path) as archive:
            assert set(archive.namelist()) == names
            assert tuple(archive.read("vocab.txt").decode().splitlines()) == PIECES
            assert tuple(archive.read("labels.txt").decode().splitlines()) == LABELS


def test_the_copy_is_run_beside_the_file_and_packed(tmp_path: Path) -> None:
    cargo = cargo_of(write_tflite(tmp_path / "m.tflite"))
    terms = [PackagerTerm(name=name) for name in ("text_task", "tflite_metadata", "tokenizer")]
    (made,) = package({".": cargo}, folder=tmp_path / "p", packagers=terms)
    assert {each.path for each in made.files} == {"m.text_task.tflite", "m.metadata.tflite", "tokenizer.json"}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (
            Tokens(vocabulary=14, pad=0, tokenizer=tokenizer_json("WordLevel")),
            r"its tokenizer is WordLevel; allowed: WordPiece",
        ),
        (Tokens(vocabulary=14, pad=1, tokenizer=tokenizer_json()), r"its pad is not 0"),
        (Tokens(vocabulary=14, pad=0, tokenizer=tokenizer_json().replace("[SEP]", "[END]")), r"lacks \[SEP\]"),
    ],
)
def test_texts_that_libraries_would_cut_otherwise_are_refused(tokens: Tokens, message: str, tmp_path: Path) -> None:
    cargo = cargo_of(write_tflite(tmp_path / "m.tflite"))
    with pytest.raises(ExportError, match=message):
        pack(cargo=dataclasses.replace(cargo, tokens=tokens), folder=tmp_path)
