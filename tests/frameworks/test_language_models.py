"""Language models from folders that transformers wrote: the same logits, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgekd.errors import ModelError
from edgekd.records import Tokens
from edgekd.teachers.transformers import load

transformers = pytest.importorskip("transformers")
SIZES = {"vocab_size": 48, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def saved(kind: str, place: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=48, n_embd=16, n_layer=1, n_head=2, n_positions=32)
        network = transformers.GPT2LMHeadModel(config)
    elif kind == "distilbert":
        config = transformers.DistilBertConfig(vocab_size=48, dim=16, hidden_dim=32, n_layers=1, n_heads=2)
        network = transformers.DistilBertForMaskedLM(config)
    else:
        network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    network.save_pretrained(place)
    found: torch.nn.Module = network.eval()
    return found


@pytest.mark.parametrize(
    ("kind", "task"), [("llama", "next_token"), ("gpt2", "next_token"), ("distilbert", "masked_token")]
)
def test_a_folder_is_read_and_its_parts_are_the_whole(kind: str, task: str, tmp_path: Path) -> None:
    network = saved(kind, tmp_path)
    teacher = load(outputs=48, input_shape=(8,), weights=tmp_path, task=task, tokens=Tokens(vocabulary=48))  # type: ignore[arg-type]
    tokens = torch.randint(0, 48, (2, 8))
    with torch.inference_mode():
        torch.testing.assert_close(teacher(tokens.float()), network(input_ids=tokens).logits)
    assert not any(each.requires_grad for each in teacher.parameters())


def test_a_vocabulary_that_is_filled_up_is_cut_and_another_is_refused(tmp_path: Path) -> None:
    network = saved("llama", tmp_path)
    teacher = load(outputs=40, input_shape=(8,), weights=tmp_path, task="next_token")
    tokens = torch.randint(0, 40, (2, 8))
    with torch.inference_mode():
        torch.testing.assert_close(teacher(tokens), network(input_ids=tokens).logits[:, :, :40])
    with pytest.raises(ModelError, match="knows 48 tokens, the data has 60"):
        load(outputs=60, input_shape=(8,), weights=tmp_path, task="next_token")


def test_what_is_no_language_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        load(outputs=48, input_shape=(8,), weights=tmp_path, task="next_token")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ModelError, match="ViTConfig is of no language model"):
        load(outputs=48, input_shape=(8,), weights=tmp_path, task="next_token")
