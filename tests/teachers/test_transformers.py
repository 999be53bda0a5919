"""Teachers of transformers: small networks with random weights, saved as `save_pretrained` does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file

from edgekd.errors import ModelError
from edgekd.records import Tokens
from edgekd.teachers.transformers import load

TEXT = {"vocab_size": 50, "dim": 16, "n_heads": 2, "n_layers": 1, "hidden_dim": 32, "num_labels": 3, "pad_token_id": 0}


@pytest.fixture(scope="module")
def image_network() -> Any:
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4
    )
    return transformers.ResNetForImageClassification(config).eval()


@pytest.fixture
def folder(image_network: Any, tmp_path: Path) -> Path:
    image_network.save_pretrained(tmp_path / "teacher")
    return tmp_path / "teacher"


def test_an_image_classifier_gives_its_logits(image_network: Any, folder: Path) -> None:
    teacher = load(weights=folder, outputs=4, input_shape=(3, 32, 32))
    samples = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3, 32, 32)).astype("f4"))
    with torch.inference_mode():
        torch.testing.assert_close(teacher(samples), image_network(pixel_values=samples).logits, rtol=0, atol=0)
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_half_precision_file_is_computed_in_float32(image_network: Any, folder: Path) -> None:
    image_network.half().save_pretrained(folder)
    image_network.float()
    teacher = load(weights=folder, outputs=4, input_shape=(3, 32, 32))
    assert {value.dtype for value in teacher.parameters()} == {torch.float32}
    assert teacher(torch.zeros(1, 3, 32, 32)).dtype == torch.float32


def test_a_text_classifier_takes_tokens_and_ignores_padding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**TEXT)).eval()
    network.save_pretrained(tmp_path)
    teacher = load(weights=tmp_path, outputs=3, input_shape=(6,))
    tokens = torch.tensor([[5, 7, 49, 3, 1, 2], [9, 8, 7, 0, 0, 0]])
    found = teacher(tokens.float())
    torch.testing.assert_close(found[:1], network(input_ids=tokens[:1]).logits)
    torch.testing.assert_close(found[1:], network(input_ids=tokens[1:, :3]).logits, rtol=1e-4, atol=1e-5)


@pytest.fixture
def reader(tmp_path: Path) -> tuple[Path, Tokens]:
    """A classifier of texts with its tokenizer, and the tokens of data that it made."""
    torch.manual_seed(0)
    transformers.DistilBertForSequenceClassification(transformers.DistilBertConfig(**TEXT)).save_pretrained(tmp_path)
    words = {"[PAD]": 0, "[UNK]": 1, "good": 2}
    own = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))  # noqa: S106 - no password
    own.save(str(tmp_path / "tokenizer.json"))
    return tmp_path, Tokens(vocabulary=3, pad=0, tokenizer=own.to_str())


def test_a_teacher_takes_tokens_of_its_own_tokenizer(reader: tuple[Path, Tokens]) -> None:
    folder, tokens = reader
    assert load(weights=folder, outputs=3, input_shape=(6,), tokens=tokens).takes_tokens


@pytest.mark.parametrize(
    ("changes", "length", "words"),
    [
        (
            {"vocabulary": 51},
            6,
            "it knows 50 tokens, the data's tokenizer 51; give the data its tokenizer: tokenizer = ",
        ),
        ({"pad": 1}, 6, "it fills up with token 0, the data with 1"),
        ({}, 600, "it takes 512 tokens, the data's texts have 600; lower data.length"),
        ({"tokenizer": "other"}, 6, "another tokenizer than its own made the data's tokens"),
    ],
)
def test_tokens_that_mean_something_else_are_refused(
    reader: tuple[Path, Tokens], changes: dict[str, Any], length: int, words: str
) -> None:
    folder, tokens = reader
    if "tokenizer" in changes:
        other = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0, "[UNK]": 1, "bad": 2}, unk_token="[UNK]"))  # noqa: S106 - no password
        changes = {"tokenizer": other.to_str()}
    with pytest.raises(ModelError) as caught:
        load(weights=folder, outputs=3, input_shape=(length,), tokens=replace(tokens, **changes))
    assert words in str(caught.value)


def test_a_teacher_of_pictures_reads_no_texts(folder: Path) -> None:
    with pytest.raises(ModelError, match="classifies image, the data are texts"):
        load(weights=folder, outputs=4, input_shape=(6,), tokens=Tokens(vocabulary=3, pad=0))


def test_weights_that_are_not_there_are_not_made_up(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in state.items() if "classifier" not in name}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"weights are missing: classifier\.1\.bias, classifier\.1\.weight"):
        load(weights=folder, outputs=4, input_shape=(3, 32, 32))


def test_code_of_a_repository_does_not_run(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Net"}
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))
    witness = tmp_path / "it-ran"
    (folder / "evil.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    assert len(message(folder)) < 500
    assert not witness.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": 5}, "has 4 classes, the data asks for 5"),
        ({"input_shape": (1, 32, 32)}, r"can't take samples of shape \(1, 32, 32\)"),
        ({"input_shape": (32,)}, r"can't take samples of shape \(32,\)"),
    ],
)
def test_what_does_not_fit_is_named(folder: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load(**{"weights": folder, "outputs": 4, "input_shape": (3, 32, 32), **changes})


def test_damaged_folders_give_one_line(folder: Path, tmp_path: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    texts = [message(tmp_path / "nowhere"), message(folder / "config.json")]
    for content in (b"", b"hello", weights[: len(weights) // 2]):
        (folder / "model.safetensors").write_bytes(content)
        texts.append(message(folder))
    (folder / "model.safetensors").unlink()
    texts.append(message(folder))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["ResNetBackbone"]}))
    texts.append(message(folder))
    assert "its architecture is ResNetBackbone" in texts[-1]
    (folder / "config.json").write_text("{")
    texts.append(message(folder))
    for text in texts:
        assert "\n" not in text
        assert len(text) < 600


def test_a_name_without_network_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="someone/no-such-teacher: no configuration can be read"):
        load(model="someone/no-such-teacher", outputs=4, input_shape=(3, 32, 32))
    with pytest.raises(ModelError, match="neither a folder nor a name"):
        load(outputs=4, input_shape=(3, 32, 32))


def test_settings_of_the_process_are_as_before(folder: Path) -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load(weights=folder, outputs=4, input_shape=(3, 32, 32))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def message(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load(weights=folder, outputs=4, input_shape=(3, 32, 32))
    return str(caught.value)
