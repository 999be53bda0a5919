"""Texts that a real model writes: as likely to it as it says, held out whole, and written once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgekd.datasets import fingerprint_of, open_dataset, written_text
from edgekd.datasets._tokenizers import open_tokenizer
from edgekd.errors import ConfigError, DataError, EdgekdError
from edgekd.records import DataSpec
from edgekd.teachers import llama2c

pytest.importorskip("transformers")
pytest.importorskip("tokenizers")


@pytest.fixture
def options(shared_data: Path) -> dict[str, Any]:
    folder = shared_data / "lm_stories260k"
    return {"weights": folder / "stories260K.bin", "tokenizer": folder / "tok512.bin", "texts": 64, "length": 48}


def test_texts_are_drawn_from_what_the_model_says(options: dict[str, Any]) -> None:
    """On average a token is as unlikely as the entropy of the distribution that it is drawn from."""
    source = written_text.load(**options)
    assert source.train.inputs.shape == (64, 48)
    assert (source.train.inputs[:, 0] == 1).all()
    texts = torch.from_numpy(source.train.inputs).long()
    with torch.inference_mode():
        logs = functional.log_softmax(llama2c.load(weights=options["weights"], outputs=512)(texts)[:, :-1], dim=2)
    said = -logs.gather(2, texts[:, 1:, None])[..., 0].double()
    entropy = -(logs.exp() * logs).sum(2).double()
    # A sum of differences of mean 0: so far is it from 0 at most once in a thousand draws.
    difference = said - entropy
    assert abs(float(difference.mean())) < 3.3 * float(difference.std()) / difference.numel() ** 0.5
    assert 0.5 < float(entropy.mean()) < 3


def test_bytes_are_those_of_the_text_without_what_begins_it(options: dict[str, Any]) -> None:
    source = written_text.load(**options)
    tokenizer = open_tokenizer(options["tokenizer"])
    whole = [len(tokenizer.decode(text.tolist()).encode()) for text in source.train.inputs]
    assert source.train.labels.tolist() == whole


def test_no_text_is_in_two_splits(options: dict[str, Any]) -> None:
    data = open_dataset(DataSpec(source="written_text", options=options, validation=0.2, test=0.25, seed=3))
    splits = [{tuple(text) for text in split.inputs.tolist()} for split in (data.train, data.validation, data.test)]
    assert [len(split) for split in splits] == [38, 10, 16]
    assert len(set.union(*splits)) == 64
    assert data.task == "next_token"
    assert data.outputs == 512


def test_the_model_writes_once(options: dict[str, Any], own_cache: Path) -> None:
    first = written_text.load(**options).train
    (part,) = own_cache.rglob("*.tokens")
    written = part.stat().st_mtime_ns
    again = written_text.load(**options).train
    assert np.array_equal(first.inputs, again.inputs)
    assert part.stat().st_mtime_ns == written
    other = written_text.load(**options, writing_seed=1).train
    assert not np.array_equal(first.inputs, other.inputs)
    assert len(list(own_cache.rglob("*.tokens"))) == 2


def test_the_fingerprint_covers_model_and_tokenizer(options: dict[str, Any], tmp_path: Path) -> None:
    def fingerprint(**changes: object) -> str:
        return fingerprint_of(DataSpec(source="written_text", options={**options, **changes}))

    moved = tmp_path / "moved.bin"
    moved.write_bytes(options["weights"].read_bytes())
    assert fingerprint() == fingerprint(weights=moved)
    moved.write_bytes(moved.read_bytes()[:-1] + b"x")
    assert len({fingerprint(), fingerprint(weights=moved), fingerprint(texts=65), fingerprint(tokenizer=moved)}) == 4


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"texts": 3}, ConfigError, "texts = 3; allowed: 10 or more"),
        ({"length": 1}, ConfigError, "length = 1; allowed: 2 or more"),
        ({"temperature": 0.0}, ConfigError, "temperature = 0; allowed: above 0: else all texts are the same"),
        ({"top_p": 0.0}, ConfigError, "top_p = 0; allowed: above 0, at most 1"),
        ({"weights": Path("nowhere.bin")}, DataError, "data.weights: no file or folder 'nowhere.bin'"),
        ({"writer": "llama3c"}, ConfigError, "unknown teacher 'llama3c'"),
        ({"temperature": 0.01}, DataError, r"\d+ different texts among 64; raise temperature, top_p or length"),
    ],
)
def test_what_can_not_be_meant(
    options: dict[str, Any], change: dict[str, object], error: type[EdgekdError], message: str
) -> None:
    with pytest.raises(error, match=message):
        written_text.load(**{**options, **change})
