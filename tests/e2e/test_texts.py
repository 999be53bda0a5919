"""Texts as people meet them: what comes wrong is one line, and general distillation goes on into a task."""

from __future__ import annotations

import pickle
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import edgekd.cli
from edgekd import store

transformers = pytest.importorskip("transformers")
USER = 2
GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "text.md").read_text(encoding="utf-8")
RECIPE = """
name = "films"
[data]
source = "text"
path = "films.csv"
length = 8
vocabulary = 60
[[teachers]]
model = "text_cnn"
[teachers.train]
epochs = 1
[student]
model = "text_cnn"
embedding = 8
width = 8
[distill]
epochs = 1
[export]
formats = ["tflite"]
precisions = ["fp32"]
"""
WORDS = ("the", "film", "was", "good", "bad", "long", "short", "dull", "bright", "and", "never", "funny")


@dataclass(frozen=True)
class Said:
    code: int
    stdout: str
    stderr: str


Call = Callable[..., Said]


@pytest.fixture
def edgekd_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command, in this process: its imports are what takes time."""
    monkeypatch.chdir(tmp_path)
    # What HF_HUB_OFFLINE sets, which is read once, when these are imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub._is_offline_mode", True)
    (tmp_path / "films.toml").write_text(RECIPE)
    chance = np.random.default_rng(0)
    lines = [
        f"{' '.join(chance.choice(WORDS, 6))} {['poor', 'great'][number % 2]},{number % 2}" for number in range(60)
    ]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *lines, ""]))

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["edgekd", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            edgekd.cli.main()
        out, err = capsys.readouterr()
        return Said(int(stopped.value.code or 0), out, err)

    return call


def refused(found: Said, *said: str) -> None:
    errors = [line for line in found.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, found.stderr
    assert found.stderr.endswith(f"{errors[0]}\n"), "one line, the last"
    assert "Traceback" not in found.stderr
    assert found.code == USER
    for each in said:
        assert each in errors[0]
    assert found.stdout == ""


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (b'text,label\n"good film",1\n"  ",0\n', (), ("films.csv: line 3: an empty text", "leave it out")),
        (b"text,label\ngood,1\nbad \xff film,0\n", (), ("films.csv: line 3: byte 0xff is not utf-8", "encoding =")),
        (b"text,label\ngood,1\nbad,2\n" * 9, ("data.classes=['0','1']",), ("label '2'", "films.csv")),
        (b"text,label\ngood,pos\nbad,neg\n" * 9, ("data.classes=['pos','negative']",), ("'neg'", "negative")),
        (b"title,label\ngood,1\nbad,0\n", (), ("'text'", "title")),
        (
            None,
            ("data.length=4", "data.longer='refuse'"),
            ("of 60 texts are longer than 4 tokens", "raise data.length"),
        ),
    ],
)
def test_texts_that_are_wrong(
    content: bytes | None, options: tuple[str, ...], said: tuple[str, ...], edgekd_here: Call
) -> None:
    if content is not None:
        Path("films.csv").write_bytes(content)
    refused(edgekd_here("run", "films.toml", *(part for each in options for part in ("--set", each))), *said)


def given_teacher(place: Path, positions: int = 16, vocabulary: int = 60) -> None:
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=positions,
        num_labels=2,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(place)


class Runs:
    """What a pickle with code in it does when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("it-ran"),)


@pytest.mark.parametrize("kind", ["pickle", "zip"])
def test_weights_that_hold_code_are_refused(kind: str, edgekd_here: Call) -> None:
    given_teacher(Path("teacher"))
    (Path("teacher") / "model.safetensors").unlink()
    weights = Path("teacher") / "pytorch_model.bin"
    if kind == "zip":
        torch.save({"weight": Runs()}, weights)
        assert zipfile.is_zipfile(weights)
    else:
        weights.write_bytes(pickle.dumps({"weight": Runs()}, protocol=2))
    use_teacher('source = "transformers"\nweights = "teacher"')
    refused(edgekd_here("run", "films.toml"), "teacher: refused", "holds code", "model.safetensors")
    weights.rename("first.bin")
    Path("films.toml").write_text(RECIPE)
    found = edgekd_here("run", "films.toml", "--set", "distill.init.weights='first.bin'")
    refused(found, "first.bin: refused: the file wants to run")
    assert not Path("it-ran").exists()


def use_teacher(lines: str) -> None:
    begin, end = RECIPE.index("[[teachers]]"), RECIPE.index("[student]")
    Path("films.toml").write_text(f"{RECIPE[:begin]}[[teachers]]\n{lines}\n{RECIPE[end:]}")


def test_teachers_of_other_tokens(edgekd_here: Call) -> None:
    use_teacher('source = "transformers"\nweights = "teacher"')
    given_teacher(Path("teacher"), positions=6)
    refused(edgekd_here("run", "films.toml"), "it takes 6 tokens, the data's texts have 8", "lower data.length")
    given_teacher(Path("teacher"), vocabulary=10)
    refused(edgekd_here("run", "films.toml"), "it knows 10 tokens, the data's tokenizer", 'tokenizer = "')


def test_a_hub_that_can_not_be_reached(edgekd_here: Call) -> None:
    use_teacher('source = "transformers"\nmodel = "nobody/nothing"')
    refused(edgekd_here("run", "films.toml"), "nobody/nothing", "local folder", "weights = 'folder'")
    found = edgekd_here("run", "films.toml", "--set", "data.hub_tokenizer='nobody/nothing'")
    refused(found, "nobody/nothing", "local folder that holds tokenizer.json")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (("export.corrections=[{name='rounding'}]", "export.precisions=['static_wi8_ai8']"), "export.corrections"),
        (("export.mixed={max_size='9 kB'}",), "export.mixed"),
        (("distill.quantization={precision='static_wi8_ai8'}", "export.precisions=['static_wi8_ai8']"), "quantization"),
    ],
)
def test_what_is_not_for_tokens_is_refused_before_training(
    options: tuple[str, ...], key: str, edgekd_here: Call
) -> None:
    found = edgekd_here("run", "films.toml", *(part for each in options for part in ("--set", each)))
    refused(found, key, "not for networks of tokens", "leave it out")
    assert not list(Path("runs").rglob("*.safetensors"))


def guide_recipe(name: str) -> None:
    (text,) = re.findall(rf"^```{re.escape(name)}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    # The guide's sizes are for real texts.
    small = text.replace("hidden = 128", "hidden = 8\nheads = 2").replace("epochs = 10", "epochs = 1")
    Path(name).write_text(small.replace("vocabulary = 6000", "vocabulary = 120"))


@pytest.mark.slow
def test_general_distillation_goes_on_into_a_task(edgekd_here: Call) -> None:
    chance = np.random.default_rng(1)
    Path("text.txt").write_text("\n".join(" ".join(chance.choice(WORDS, 12)) for _ in range(900)))
    Path("films.csv").rename("train.csv")
    guide_recipe("general.toml")
    guide_recipe("task.toml")
    refused(edgekd_here("run", "general.toml"), "no files are made", "edgekd distill", "[distill.init]")
    assert not Path("runs/general/distill").exists()
    general = edgekd_here("distill", "general.toml", "--set", "distill.weak_teachers='warn'")
    assert general.code == 0, general.stderr
    # A rate of nothing leaves a student as it begins.
    task = edgekd_here(
        *("distill", "task.toml", "--set", "distill.learning_rate=1e-30"),
        *("--set", "distill.weight_decay=0", "--set", "distill.weak_teachers='warn'"),
    )
    assert task.code == 0, task.stderr
    before, after = (load_file(Path(f"runs/{name}/distill/student.safetensors")) for name in ("general", "task"))
    shared = [key for key in after if key.startswith("network.bert.e")]
    assert len(shared) > 3 * 16
    for key in shared:
        assert torch.equal(before[key], after[key]), key
    left = re.search(r"not in \S+, or of another shape: (.*)", task.stderr)
    assert left is not None
    assert "network.bert.pooler" in left[1]
    tokenizers = [store.sha256_of(Path(f"runs/{name}/distill/tokenizer.json")) for name in ("general", "task")]
    assert tokenizers[0] == tokenizers[1]
