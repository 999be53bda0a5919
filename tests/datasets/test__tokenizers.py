"""Tokenizers against transformers' own, against llama2.c's algorithm, and against files that are none."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.datasets import _tokenizers
from edgekd.errors import ConfigError, DataError

pytest.importorskip("tokenizers")

TEXTS = ["The cat sat on the mat.", "The dog didn't sit; it ran.", "A cat ran!", "the Ünïcode cät — 12 € 🙂"]


def test_word_pieces_are_those_of_transformers(shared_data: Path) -> None:
    transformers = pytest.importorskip("transformers")
    file = shared_data / "bert_vocab" / "vocab.txt"
    ours = _tokenizers.open_tokenizer(file)
    theirs = transformers.BertTokenizer(str(file))
    for text in TEXTS:
        assert ours.encode(text).ids == theirs(text)["input_ids"]


def llama2c_encode(text: str, file: Path) -> list[int]:
    """Do what run.c's encode() does: a space before, a token a character or its bytes, the best pair joined first."""
    content, at, pieces, scores = file.read_bytes(), 4, [], []
    while at < len(content):
        score, length = struct.unpack_from("<fi", content, at)
        pieces.append(content[at + 8 : at + 8 + length])
        scores.append(score)
        at += 8 + length
    number_of = {piece: number for number, piece in reversed(list(enumerate(pieces)))}
    tokens = [1, number_of[b" "]]
    for character in text:
        encoded = character.encode()
        tokens += [number_of[encoded]] if encoded in number_of else [byte + 3 for byte in encoded]
    while True:
        best = max(
            (
                (scores[found], -place, found)
                for place in range(len(tokens) - 1)
                if (found := number_of.get(pieces[tokens[place]] + pieces[tokens[place + 1]])) is not None
            ),
            default=None,
        )
        if best is None:
            return tokens
        tokens[-best[1] : -best[1] + 2] = [best[2]]


def test_llama2c_as_run_c_encodes(shared_data: Path) -> None:
    folder = shared_data / "lm_stories260k"
    tokenizer = _tokenizers.open_tokenizer(folder / "tok512.bin")
    story = (folder / "stories260K.md").read_text()
    for text in (*story.splitlines(), *TEXTS, "naïve 日本", " two  spaces "):
        if text:
            ids = tokenizer.encode(text).ids
            assert ids == llama2c_encode(text, folder / "tok512.bin"), text
            assert tokenizer.decode(ids) == text
    tokens = _tokenizers.tokens_of(tokenizer)
    assert (tokens.vocabulary, tokens.pad) == (512, None)
    assert [_tokenizers.special_of(tokenizer, role) for role in ("begin", "end", "unknown", "mask")] == [1, 2, 0, None]


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "word"])
def test_trained_knows_its_texts(kind: _tokenizers.Kind) -> None:
    tokenizer = _tokenizers.train_tokenizer(TEXTS * 3, kind=kind, vocabulary=300, lowercase=True)
    assert tokenizer.get_vocab_size() <= 300
    (ids,) = _tokenizers.encode(tokenizer, ["the cat ran"])
    assert tokenizer.decode(ids, skip_special_tokens=True) == "the cat ran"
    assert ids == tokenizer.encode("THE Cat ran").ids
    assert ids[-1] == _tokenizers.special_of(tokenizer, "end")
    again = _tokenizers.read_tokenizer(_tokenizers.tokens_of(tokenizer).tokenizer)
    assert again.encode("the cat ran").ids == ids


def test_bpe_of_bytes_gives_every_text_back() -> None:
    tokenizer = _tokenizers.train_tokenizer(TEXTS, kind="bpe", vocabulary=270)
    for text in (*TEXTS, "日本 \x00\n\t", ""):
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=True) == text


def test_trained_again_is_the_same() -> None:
    """In another process too, whose hashes differ."""
    code = (
        "from edgekd.datasets._tokenizers import *\n"
        "texts = [f'w{i % 97} x{i % 31} y{i % 7} é' for i in range(2000)]\n"
        "for kind in ('wordpiece', 'bpe', 'word'):\n"
        "    print(tokens_of(train_tokenizer(texts, kind=kind, vocabulary=320)).tokenizer)"
    )
    made = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(3)}
    assert len(made) == 1


def test_too_small_a_vocabulary_or_no_text() -> None:
    with pytest.raises(ConfigError, match=r"vocabulary = 100.*257 or more"):
        _tokenizers.train_tokenizer(TEXTS, kind="bpe", vocabulary=100)
    with pytest.raises(DataError, match="nothing to make tokens of"):
        _tokenizers.train_tokenizer(["", " "], kind="word", vocabulary=100)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{}", "no tokenizer"),
        ("tokenizer.json", b'{"a": "\xff"}', "0xff in line 1 is not UTF-8"),
        ("spiece.model", b"\n\n", r"ends in '\.model'.*save_pretrained"),
        ("vocab.txt", b"a\nb\n", r"lacks \[UNK\]"),
        ("vocab.txt", b"[UNK]\n[CLS]\n[SEP]\na\na\n", "a word piece twice"),
        ("tok.bin", b"\x07\0\0\0" + b"\0\0\0\0\xff\xff\xff\x7f<", "damaged after 0 pieces"),
        ("tok.bin", b"\x07\0\0\0" + b"\0\0\0\0\x01\0\0\0<", "not the bytes"),
    ],
)
def test_what_is_no_tokenizer(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        _tokenizers.open_tokenizer(tmp_path / name)


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"no such tokenizer.*allowed: a folder with tokenizer.json"):
        _tokenizers.open_tokenizer(tmp_path)
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"can't be had from the hub.*or give a local folder"):
        _tokenizers.open_tokenizer("someone/no-such-tokenizer")


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\nb\xe9d\n")
    with pytest.raises(DataError, match=r"byte 0xe9 in line 2 is not UTF-8.*iconv"):
        _tokenizers.read_text(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfmarked")
    assert _tokenizers.read_text(tmp_path / "b.txt") == "marked"
