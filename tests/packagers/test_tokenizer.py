"""The shipped tokenizer makes of a text what the file takes: read by Hugging Face's tokenizers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from edgekd.errors import ExportError
from edgekd.packagers.tokenizer import pack
from edgekd.records import PackagerTerm, Tokens
from edgekd.stages.package import package
from tests.packagers.texts import LENGTH, cargo_of, tokenizer_json, write_onnx

TEXT = "The film was badly acted."
TOKENS = [2, 5, 6, 7, 9, 10, 11, 12, 13, 3]


def test_it_cuts_and_fills_to_the_length_of_the_file(tmp_path: Path) -> None:
    (path,) = pack(cargo=cargo_of(write_onnx(tmp_path / "m.onnx")), folder=tmp_path)
    assert path.name == "tokenizer.json"
    read = Tokenizer.from_file(str(path))
    assert read.encode(TEXT).ids == TOKENS + [0] * (LENGTH - len(TOKENS))
    assert read.encode("good " * 50).ids == [2, *[8] * (LENGTH - 2), 3]


def test_of_any_length_it_makes_what_there_is(tmp_path: Path) -> None:
    (path,) = pack(cargo=cargo_of(write_onnx(tmp_path / "m.onnx", length="length")), folder=tmp_path)
    assert Tokenizer.from_file(str(path)).encode(TEXT).ids == TOKENS


def test_packages_of_texts_hold_it_with_its_hash_and_others_do_not_ask_for_it(tmp_path: Path) -> None:
    cargo = cargo_of(write_onnx(tmp_path / "m.onnx"))
    (made,) = package({".": cargo}, folder=tmp_path / "p")
    assert {"tokenizer.json", "m.metadata.onnx", "README.md"} <= {each.path for each in made.files}
    assert len(next(each.sha256 for each in made.files if each.packager == "tokenizer")) == 64
    (plain,) = package({".": dataclasses.replace(cargo, tokens=None)}, folder=tmp_path / "q")
    assert "tokenizer" not in {each.packager for each in plain.files} | plain.left_out.keys()


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [("", "no tokenizer is known"), ("{", "its tokenizer is no JSON"), ("{}", "its tokenizer has no model")],
)
def test_what_is_no_tokenizer_is_refused(tokenizer: str, message: str, tmp_path: Path) -> None:
    cargo = cargo_of(write_onnx(tmp_path / "m.onnx"), tokens=Tokens(vocabulary=14, pad=0, tokenizer=tokenizer))
    with pytest.raises(ExportError, match=message):
        pack(cargo=cargo, folder=tmp_path)
    with pytest.raises(ExportError, match=message):
        package({".": cargo}, folder=tmp_path / "p", packagers=[PackagerTerm(name="tokenizer")])


def test_one_token_a_word_goes_the_same_way(tmp_path: Path) -> None:
    tokens = Tokens(vocabulary=14, pad=0, tokenizer=tokenizer_json("WordLevel"))
    (path,) = pack(cargo=cargo_of(write_onnx(tmp_path / "m.onnx"), tokens=tokens), folder=tmp_path)
    assert Tokenizer.from_file(str(path)).encode("the film").ids == [2, 5, 6, 3, *[0] * (LENGTH - 4)]
