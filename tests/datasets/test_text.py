"""Texts from files: layouts, splits, tokenizers, and what is wrong with them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from edgekd.datasets import Dataset, fingerprint_of, open_dataset, transfer_split
from edgekd.errors import ConfigError, DataError, EdgekdError
from edgekd.records import DataSpec, TransferSpec

ROWS = [("a good film", "1"), ("a bad film", "0"), ("good, really good", "1"), ("nothing but bad", "0")] * 10


def table(tmp_path: Path, name: str = "own.csv", rows: list[tuple[str, str]] = ROWS) -> Path:
    file = tmp_path / name
    file.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows))
    return file


def opened(path: Path, **options: Any) -> Dataset:
    return open_dataset(DataSpec(source="text", options={"length": 8, "kind": "word", "path": path, **options}))


def decoded(data: Dataset, row: Any) -> str:
    assert data.tokens is not None
    return str(tokenizers.Tokenizer.from_str(data.tokens.tokenizer).decode([int(each) for each in row]))


def message(path: Path, **options: Any) -> str:
    with pytest.raises(EdgekdError) as caught:
        opened(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_table_becomes_tokens_of_its_texts(tmp_path: Path) -> None:
    data = opened(table(tmp_path))
    assert (data.classes, data.input_shape, str(data.train.inputs.dtype)) == (("0", "1"), (8,), "int32")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [28, 4, 8]
    for split in (data.train, data.validation, data.test):
        for row, label in zip(split.inputs, split.labels, strict=True):
            text = decoded(data, row).replace(" ,", ",")
            assert (text, str(label)) in ROWS


def test_the_tokenizer_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    # Each text has a word of its own: those of other splits are unknown.
    data = opened(table(tmp_path, rows=[(f"same word{n}", str(n % 2)) for n in range(40)]), vocabulary=1000)
    assert data.tokens is not None
    known = json.loads(data.tokens.tokenizer)["model"]["vocab"]
    assert len([word for word in known if word.startswith("word")]) == len(data.train)
    for split, is_known in ((data.train, True), (data.validation, False), (data.test, False)):
        assert ((split.inputs != known["[UNK]"]).all(axis=1) == is_known).all()


def test_own_validation_and_test_files_are_taken_whole(tmp_path: Path) -> None:
    own = {name: table(tmp_path, f"{name}.csv", ROWS[:count]) for name, count in (("dev", 6), ("final", 10))}
    data = opened(table(tmp_path), validation_path=own["dev"], test_path=own["final"])
    assert [len(split) for split in (data.train, data.validation, data.test)] == [40, 6, 10]


def test_columns_by_number_and_classes_by_name(tmp_path: Path) -> None:
    file = tmp_path / "news.csv"
    file.write_text('"2","Title, first","All of it"\n"1","Other","Text"\n' * 20)
    options = {"header": False, "label": "1", "text": ("2", "3"), "classes": ("World", "Sports"), "first_class": 1}
    data = opened(file, **options, kind="word")
    texts = {
        (decoded(data, row), data.classes[label])
        for row, label in zip(data.train.inputs, data.train.labels, strict=True)
    }
    assert texts == {("title , first all of it", "Sports"), ("other text", "World")}
    assert "line 1: label '2' is no class; allowed: 5 to 6" in message(file, **{**options, "first_class": 5})
    assert "label '2' is no class" in message(file, **{**options, "first_class": None})


def test_in_tab_separated_files_quotes_are_nothing_special(tmp_path: Path) -> None:
    file = tmp_path / "own.tsv"
    file.write_text('one " quote\t1\nno quotes\t0\n' * 20)
    data = opened(file, layout="tsv", header=False, text=("1",), label="2")
    assert {decoded(data, row) for row in data.train.inputs} == {'one " quote', "no quotes"}


@pytest.mark.parametrize(("fine", "classes"), [(False, ("HUM", "LOC")), (True, ("HUM:desc", "LOC:city", "LOC:other"))])
def test_labelled_lines(tmp_path: Path, fine: bool, classes: tuple[str, ...]) -> None:
    file = tmp_path / "own.label"
    lines = "HUM:desc Who was Galileo ?\nLOC:city What is in Caf\xe9 ?\nLOC:other Where ?\n" * 8
    file.write_bytes(lines.encode("latin-1"))
    assert opened(file, layout="labelled_lines", encoding="latin-1", fine=fine).classes == classes
    assert "line 2: byte 0xe9 is not utf-8; say what it is" in message(file, layout="labelled_lines")


def pairs_table(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.tsv"
    rows = [
        ("a plane takes off", "an air plane takes off", 5.0),
        ("a man smokes", "a man skates on the long road", 0.5),
    ]
    file.write_text("one\tother\tscore\n" + "".join(f"{one}\t{other}\t{score}\n" for one, other, score in rows * 10))
    return file


@pytest.mark.parametrize("length", [16, 9])
def test_pairs_are_put_together_as_transformers_does(tmp_path: Path, shared_data: Path, length: int) -> None:
    from transformers import BertTokenizerFast

    vocabulary = shared_data / "bert_vocab" / "vocab.txt"
    options = {"layout": "tsv", "text": ("one", "other"), "pairs": True, "label": "score", "task": "regression"}
    data = opened(pairs_table(tmp_path), **options, tokenizer=vocabulary, length=length)
    theirs = BertTokenizerFast(vocab_file=str(vocabulary))
    made = {
        5.0: theirs(
            "a plane takes off", "an air plane takes off", max_length=length, truncation=True, padding="max_length"
        ),
        0.5: theirs(
            "a man smokes", "a man skates on the long road", max_length=length, truncation=True, padding="max_length"
        ),
    }
    assert (data.task, data.classes, data.input_shape) == ("regression", ("score",), (length,))
    for row, label in zip(data.train.inputs, data.train.labels, strict=True):
        assert row.tolist() == made[float(label[0])]["input_ids"]


@pytest.mark.parametrize("kind", ["wordpiece", "word"])
def test_tokenizers_that_are_trained_know_pairs(tmp_path: Path, kind: str) -> None:
    options = {"layout": "tsv", "text": ("one", "other"), "pairs": True, "label": "score", "task": "regression"}
    data = opened(pairs_table(tmp_path), **options, kind=kind, length=40)
    assert data.tokens is not None
    tokenizer = tokenizers.Tokenizer.from_str(data.tokens.tokenizer)
    for row, label in zip(data.train.inputs, data.train.labels, strict=True):
        first, second, filling = tokenizer.decode(row.tolist(), skip_special_tokens=False).split(" [SEP]")
        expected = ("a plane takes off", "an air plane takes off")
        if label[0] < 1:
            expected = ("a man smokes", "a man skates on the long road")
        assert (first.removeprefix("[CLS] "), second.strip()) == expected
        assert set(filling.split()) == {"[PAD]"}


def test_what_makes_no_pairs_is_refused(tmp_path: Path) -> None:
    file = pairs_table(tmp_path)
    options: dict[str, Any] = {"layout": "tsv", "text": ("one", "other"), "pairs": True, "label": "score"}
    assert "data.text: pairs of 1 columns; allowed: two columns of texts" in message(
        file, **{**options, "text": ("one",)}
    )
    assert "data.pairs: pairs in lines; allowed: the layouts csv and tsv" in message(
        file, **{**options, "layout": "lines"}
    )
    assert "data.length: 3; allowed: more than the 3 special tokens" in message(file, **options, length=3)
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "?": 1}, unk_token="?"))  # noqa: S106 - no password
    own.save(str(tmp_path / "own.json"))
    assert "puts nothing between the two texts of a pair" in message(file, **options, tokenizer=tmp_path / "own.json")
    file.write_text("one\tother\tscore\nfine\t \t1\n")
    assert "line 2: an empty text" in message(file, **options)


def test_lines_are_what_a_student_may_learn_from_too_with_the_data_s_tokens(tmp_path: Path) -> None:
    data = opened(table(tmp_path))
    lines = tmp_path / "more.txt"
    lines.write_text("good film\nunheard of\n")
    options = {"path": lines, "layout": "lines", "length": 8}
    split = transfer_split(TransferSpec(source="text", options=options, labelled=False), data)
    assert split.labels.tolist() == [-1, -1]
    assert decoded(data, split.inputs[0]) == "good film"
    with pytest.raises(DataError, match="samples of shape"):
        transfer_split(TransferSpec(source="text", options={**options, "length": 9}, labelled=False), data)


def test_longer_texts_are_cut_and_counted_or_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [*ROWS, ("one two three four five six seven eight nine", "1")]
    file = table(tmp_path, rows=rows)
    with caplog.at_level(logging.WARNING, logger="edgekd"):
        data = opened(file)
    assert f"{file}: 1 of 41 texts are longer than 8 tokens and are cut" in caplog.text
    assert data.tokens is not None
    end = json.loads(data.tokens.tokenizer)["model"]["vocab"]["[SEP]"]
    every = np.concatenate([split.inputs for split in (data.train, data.validation, data.test)])
    assert (every == end).any(axis=1).all(), "a text that was cut ends as others do"
    assert "1 of 41 texts are longer than 8 tokens, the first in line 42" in message(file, longer="refuse")


def test_a_tokenizer_is_taken_from_where_it_lies(tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    file = table(tmp_path, rows=[("Good films", "1"), ("film", "0")] * 10)
    data = opened(file, tokenizer=tmp_path / "vocab.txt")
    assert data.train.inputs[data.train.labels == 1][0].tolist() == [2, 5, 6, 7, 3, 0, 0, 0]
    assert data.tokens is not None
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "tokenizer.json").write_text(data.tokens.tokenizer)
    again = opened(file, tokenizer=tmp_path / "teacher")
    assert np.array_equal(again.train.inputs, data.train.inputs)
    assert "tokenizer and hub_tokenizer" in message(file, tokenizer=tmp_path / "vocab.txt", hub_tokenizer="some/one")


def test_bytes_of_texts_and_tokenizer_decide_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\n")
    options = {"path": table(tmp_path), "tokenizer": tmp_path / "vocab.txt"}
    first = fingerprint_of(DataSpec(source="text", options=options))
    assert fingerprint_of(DataSpec(source="text", options=options)) == first
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbad\n")
    second = fingerprint_of(DataSpec(source="text", options=options))
    table(tmp_path, rows=ROWS[:20])
    assert len({first, second, fingerprint_of(DataSpec(source="text", options=options))}) == 3


def test_vectors_are_what_an_encoder_learns(tmp_path: Path) -> None:
    lines = tmp_path / "own.txt"
    lines.write_text("".join(f"text {number}\n" for number in range(20)))
    vectors = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.save(tmp_path / "own.npy", vectors)
    options = {"layout": "lines", "task": "regression", "vectors": tmp_path / "own.npy"}
    data = opened(lines, **options)
    assert (data.task, data.outputs) == ("regression", 3)
    assert data.train.positions is not None
    assert np.array_equal(data.train.labels, vectors[data.train.positions])
    np.save(tmp_path / "own.npy", vectors[:9])
    assert "allowed: floats of shape (20, D): a row for each text" in message(lines, **options)
    np.save(tmp_path / "own.npy", np.array([{}]), allow_pickle=True)
    assert "no pickles" in message(lines, **options)
    assert "vectors with the task single_label" in message(lines, layout="lines", vectors=tmp_path / "own.npy")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"text,label\nfine,1\n  ,0\n", {}, "line 3: an empty text"),
        (b"text,label\nfine,1\nmore,0,1\n", {}, "line 3: 3 values; allowed: 2"),
        (b"text,label\n", {}, "holds no texts"),
        (b"", {}, "holds no texts"),
        (b"text,label\nfine,1\n", {"label": "lable"}, "no column 'lable'; allowed: text, label; did you mean 'label'?"),
        (b"text,text,label\nfine,x,1\n", {}, "two columns are called 'text'"),
        (b'text,label\n"open,1\n', {}, "line 2: unexpected end of data"),
        (b"text,label\nfine,1\nna\xefve,0\n", {}, "line 3: byte 0xef is not utf-8"),
        (b"text,label\nfine,1\n", {"encoding": "klingon"}, "no encoding 'klingon'"),
        (b"text,label\nfine,1\n", {"classes": ("yes", "no")}, "label '1' is no class; allowed: yes, no"),
        (b"text,label\nfine,1\n", {"first_class": 1}, "first_class without classes"),
        (b"text,label\nfine,one\n", {"task": "regression"}, "line 2, its label: 'one'; allowed: a finite number"),
        (b"text,label\nfine,1\n", {"length": 0}, "data.length: 0; allowed: 1 or more tokens"),
        (b"LABEL\n", {"layout": "labelled_lines"}, "line 1: no text after 'LABEL'"),
        (b"fine\n", {"layout": "lines", "task": "regression"}, "lines have no labels"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, content: bytes, options: dict[str, Any], words: str) -> None:
    file = tmp_path / "own.csv"
    file.write_bytes(content)
    assert words in message(file, **options)


def test_texts_of_which_no_token_is_left_and_tokenizers_without_a_pad(tmp_path: Path) -> None:
    file = table(tmp_path, rows=[*ROWS, ("\u200b\ufeff", "1")])
    assert "line 42: no token is left of" in message(file, kind="wordpiece")
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel({"good": 0, "?": 1}, unk_token="?"))  # noqa: S106 - no password
    own.save(str(tmp_path / "own.json"))
    assert "has no token to fill up short texts" in message(table(tmp_path), tokenizer=tmp_path / "own.json")
    with pytest.raises(ConfigError, match="more than the 2 special tokens"):
        opened(table(tmp_path), length=2)


def test_a_hub_that_cannot_be_reached_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "or give a local folder" in message(table(tmp_path), hub_tokenizer="nobody/no-such-tokenizer")


def test_the_published_files(shared_data: Path) -> None:
    # Sizes as their papers give them.
    trec = opened(
        shared_data / "text_trec6" / "train_5500.label",
        layout="labelled_lines",
        test_path=shared_data / "text_trec6" / "TREC_10.label",
        encoding="latin-1",
        tokenizer=shared_data / "bert_vocab" / "vocab.txt",
        length=40,
    )
    assert (len(trec.train) + len(trec.validation), len(trec.test), len(trec.classes)) == (5452, 500, 6)
    sst2 = opened(
        shared_data / "text_sst2" / "train.tsv",
        layout="tsv",
        header=False,
        text=("1",),
        label="2",
        validation_path=shared_data / "text_sst2" / "dev.tsv",
        test_path=shared_data / "text_sst2" / "test.tsv",
        length=70,
    )
    assert [len(split) for split in (sst2.train, sst2.validation, sst2.test)] == [6920, 872, 1821]
