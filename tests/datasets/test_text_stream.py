"""Running text as windows: nothing is lost, nothing is in two splits, and bytes are counted right."""

import re
from pathlib import Path

import pytest

from edgekd import datasets
from edgekd.datasets import open_dataset, text_stream
from edgekd.datasets._tokenizers import read_tokenizer
from edgekd.errors import ConfigError, DataError, EdgekdError
from edgekd.records import DataSpec, TransferSpec

pytest.importorskip("tokenizers")

LINES = [f"Line {number}: naïve café, {number * 7919 % 1000} € — ok." for number in range(600)]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "own.txt"
    file.write_text("\n".join(LINES), encoding="utf-8")
    return file


def decoded(data: datasets.Dataset, split: datasets.Split) -> list[str]:
    assert data.tokens is not None
    tokenizer = read_tokenizer(data.tokens.tokenizer)
    return [tokenizer.decode(window.tolist(), skip_special_tokens=False) for window in split.inputs]


def test_every_token_is_predicted_once_and_its_bytes_are_counted(text: Path) -> None:
    source = text_stream.load(path=text, length=16, validation=0, test=0, vocabulary=300, stretches=1)
    assert source.tokens is not None
    tokenizer = read_tokenizer(source.tokens.tokenizer)
    ids = tokenizer.encode(text.read_text()).ids
    predicted = [token for window in source.train.inputs for token in window[1:]]
    assert [source.train.inputs[0][0], *predicted] == ids[: len(predicted) + 1]
    assert len(ids) - len(predicted) - 1 < 15
    whole = tokenizer.decode(ids[: len(predicted) + 1], skip_special_tokens=True)
    first = tokenizer.decode(ids[:1])
    # A window may end inside a sign of several bytes.
    assert abs(source.train.labels.sum() - len(whole.encode()) + len(first.encode())) <= 3


def test_splits_share_no_passage(text: Path) -> None:
    data = open_dataset(
        DataSpec(
            source="text_stream", options={"path": text, "length": 32, "separator": "\n", "vocabulary": 300}, seed=3
        )
    )
    seen = {
        name: {line for window in decoded(data, getattr(data, name)) for line in re.findall(r"Line \d+:", window)}
        for name in ("train", "validation", "test")
    }
    assert not seen["train"] & seen["validation"]
    assert not seen["train"] & seen["test"]
    assert not seen["validation"] & seen["test"]
    assert 0.1 < len(data.test) / (len(data.train) + len(data.validation) + len(data.test)) < 0.3
    assert all(seen.values())
    assert data.tokens is not None
    assert data.outputs == data.tokens.vocabulary == 300
    again = open_dataset(
        DataSpec(
            source="text_stream", options={"path": text, "length": 32, "separator": "\n", "vocabulary": 300}, seed=3
        )
    )
    assert again.sha256 == data.sha256


def test_the_tokenizer_learns_of_the_training_split_alone(tmp_path: Path) -> None:
    """Words of the stretches that are held out are no tokens; those of the others are."""
    file = tmp_path / "words.txt"
    words = [f"{chr(97 + number % 26)}{chr(97 + number // 26)}zq" for number in range(40)]
    file.write_text("\n".join(f"{word} " * 300 for word in words))
    source = text_stream.load(path=file, separator="\n", length=4, vocabulary=600, stretches=40, validation=0.2, seed=1)
    assert source.tokens is not None
    tokenizer = read_tokenizer(source.tokens.tokenizer)
    whole = {word: len(tokenizer.encode(f" {word}").ids) == 2 for word in words}  # and the end
    text_of = tokenizer.decode(source.train.inputs.ravel().tolist())
    for word in words:
        assert whole[word] == (word in text_of), word
    assert sum(whole.values()) < 40


def test_a_text_stands_between_its_tokens(shared_data: Path, tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number:02}.txt").write_text(f"Once upon a time there was number {number}.")
    source = text_stream.load(
        path=tmp_path,
        length=64,
        tokenizer=shared_data / "lm_stories260k" / "tok512.bin",
        validation=0,
        test=0,
        stretches=1,
    )
    assert source.tokens is not None
    assert (source.tokens.begin, source.tokens.end, source.tokens.pad) == (1, 2, None)
    stream = [source.train.inputs[0][0], *(token for window in source.train.inputs for token in window[1:])]
    pieces = read_tokenizer(source.tokens.tokenizer).decode(stream, skip_special_tokens=False).split("<s>")
    assert [each.strip() for each in pieces[1:4]] == [f"Once upon a time there was number {n}." for n in range(3)]


def test_masking_needs_a_mask(text: Path) -> None:
    with pytest.raises(ConfigError, match="no token that masks"):
        text_stream.load(path=text, task="masked_token", length=8)
    source = text_stream.load(path=text, task="masked_token", length=8, train_tokenizer="wordpiece", vocabulary=200)
    assert source.tokens is not None
    assert source.tokens.mask == 4
    assert source.train.inputs.shape[1] == 8


def test_a_transfer_text_takes_the_tokenizer_of_the_data(text: Path, tmp_path: Path) -> None:
    options = {"path": text, "length": 12, "vocabulary": 300}
    data = open_dataset(DataSpec(source="text_stream", options=options))
    other = tmp_path / "other.txt"
    other.write_text("Quite another text, which stands for itself. " * 60)
    split = datasets.transfer_split(
        TransferSpec(source="text_stream", labelled=False, options={"path": other, "length": 12}), data
    )
    assert "stands for" in " ".join(decoded(data, split))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, "length = 1"),
        ({"stretches": 0}, "stretches = 0"),
        ({"tokenizer": Path("a"), "hub_tokenizer": "b"}, "two tokenizers"),
        ({"length": 5000, "stretches": 10}, "5000 tokens long"),
        ({"path": Path("nowhere.txt")}, r"no file or folder 'nowhere.txt'"),
        ({"tokenizer": Path("nowhere.json")}, "nowhere.json"),
    ],
)
def test_what_can_not_be_meant(text: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(EdgekdError, match=message):
        text_stream.load(**{"path": text, **options})  # type: ignore[arg-type]


def test_files_without_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no \.txt files"):
        text_stream.load(path=tmp_path)
    (tmp_path / "a.txt").write_text(" \n ")
    with pytest.raises(DataError, match="holds no text"):
        text_stream.load(path=tmp_path)
    (tmp_path / "a.txt").write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        text_stream.load(path=tmp_path)


def test_the_fingerprint_covers_text_and_tokenizer(text: Path, tmp_path: Path) -> None:
    from edgekd.datasets._tokenizers import train_tokenizer

    place = tmp_path / "tokenizer"
    place.mkdir()
    train_tokenizer(LINES, kind="bpe", vocabulary=300).save(str(place / "tokenizer.json"))
    spec = DataSpec(source="text_stream", options={"path": text, "tokenizer": place})
    before = datasets.fingerprint_of(spec)
    assert before == datasets.fingerprint_of(spec)
    train_tokenizer(LINES, kind="bpe", vocabulary=320).save(str(place / "tokenizer.json"))
    assert datasets.fingerprint_of(spec) != before
