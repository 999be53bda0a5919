"""llama2.c's checkpoints: the published greedy text comes out, and what is no checkpoint is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch

from edgekd.datasets._tokenizers import open_tokenizer
from edgekd.errors import ModelError
from edgekd.frameworks.writing import generate
from edgekd.teachers import llama2c

pytest.importorskip("transformers")


def test_the_published_text_comes_out(shared_data: Path) -> None:
    """All 565 characters that run.c writes at temperature 0, as the model's page shows them."""
    folder = shared_data / "lm_stories260k"
    teacher = llama2c.load(weights=folder / "stories260K.bin", outputs=512)
    tokens = generate(teacher, torch.tensor([[1]]), 257, temperature=0.0)[0].tolist()
    story = tokens[: tokens.index(1, 1) if 1 in tokens[1:] else len(tokens)]
    text = open_tokenizer(folder / "tok512.bin").decode(story)
    published = (folder / "stories260K.md").read_text().split("-t 0.0\n")[1].split("\n```")[0]
    assert len(published) == 565
    assert text == published
    # Read again each time, without keys and values that were kept.
    again = torch.tensor([tokens[:40]])
    with torch.inference_mode():
        assert teacher(again[:, :-1].float()).argmax(-1)[0].tolist() == tokens[1:40]


def test_another_vocabulary_is_refused_with_the_ways_out(shared_data: Path) -> None:
    with pytest.raises(ModelError, match=r"knows 512 tokens, the data has 4096.*give the data the teacher's tokenizer"):
        llama2c.load(weights=shared_data / "lm_stories260k" / "stories260K.bin", outputs=4096)


def test_longer_texts_than_it_has_positions_for_are_refused(shared_data: Path) -> None:
    file = shared_data / "lm_stories260k" / "stories260K.bin"
    llama2c.load(weights=file, outputs=512, input_shape=(512,))
    with pytest.raises(ModelError, match=r"it takes 512 tokens, the data's texts have 513; lower data.length"):
        llama2c.load(weights=file, outputs=512, input_shape=(513,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (struct.pack("<7i", 8, 16, 1, 2, 2, 10, 16), "28 bytes, its sizes make"),
        (struct.pack("<7i", 8, 16, 1, 3, 2, 10, 16), "no such network: sizes 8, 16, 1, 3, 2, 10, 16"),
        (struct.pack("<7i", 2**30, 2**30, 2**30, 2, 2, 10, 16), "no such network"),
        (b"ak42" * 20, "no such network"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "own.bin").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        llama2c.load(weights=tmp_path / "own.bin", outputs=10)
    with pytest.raises(ModelError, match="can't read it"):
        llama2c.load(weights=tmp_path / "nowhere.bin", outputs=10)
