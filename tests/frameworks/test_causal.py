"""Causal networks that go on from where they stopped, held against transformers' own caches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.frameworks.causal import Causal, _Filling, _Growing

LLAMA = transformers.LlamaConfig(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=24,
)
GPT2 = transformers.GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=24)
TOKENS = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(0))


def make(name: str) -> Any:
    torch.manual_seed(1)
    if name == "gpt2":
        return transformers.GPT2LMHeadModel(GPT2).eval()
    if name == "llama":
        return transformers.LlamaForCausalLM(LLAMA).eval()

    class Parted(nn.Module):
        """As decision 23 says: `hidden` and `head`."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.last = transformers.LlamaModel(LLAMA), nn.Linear(32, 50)

        def hidden(self, inputs: Tensor) -> Tensor:
            found: Tensor = self.body(input_ids=inputs).last_hidden_state
            return found

        def head(self, hidden: Tensor) -> Tensor:
            found: Tensor = self.last(hidden)
            return found

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.hidden(inputs))

    return Parted().eval()


def expected_of(network: nn.Module) -> Tensor:
    with torch.inference_mode():
        found = network(TOKENS)
    logits: Tensor = found if isinstance(found, Tensor) else found.logits
    return logits


@pytest.mark.parametrize("name", ["llama", "gpt2", "parted"])
def test_logits_are_those_of_transformers_however_the_text_is_cut(name: str) -> None:
    expected = expected_of(make(name))
    network = Causal(make(name)).eval()
    sizes = network.sizes
    assert (sizes.layers, sizes.heads, sizes.width, sizes.context) == (2, 4 if name == "gpt2" else 2, 8, 24)
    with torch.inference_mode():
        torch.testing.assert_close(network(TOKENS.float()), expected, atol=1e-5, rtol=1e-5)
        growing, filling = _Growing(network), _Filling(network)
        logits: dict[str, list[Tensor]] = {"growing": [], "filling": []}
        pasts = [torch.zeros(2, sizes.heads, 0, sizes.width)] * 4
        caches = {each: torch.full((1, sizes.heads, sizes.context, sizes.width), 9.0) for each in filling.names}
        for start, end in ((0, 4), (4, 8), (8, 9)):
            given, *pasts = growing(TOKENS[:, start:end], *pasts)
            logits["growing"].append(given)
            numbers = torch.arange(start, end, dtype=torch.int32)
            filled = filling(TOKENS[:1, start:end].int(), numbers, **caches)
            logits["filling"].append(filled.pop("logits"))
            caches = filled
    assert pasts[0].shape == (2, sizes.heads, 9, sizes.width)
    torch.testing.assert_close(torch.cat(logits["growing"], 1), expected, atol=1e-5, rtol=1e-5)
    # What was in the tensors before, 9, is written over or not looked at.
    torch.testing.assert_close(torch.cat(logits["filling"], 1), expected[:1], atol=1e-5, rtol=1e-5)


def test_scaled_rotations_stay_what_they_are() -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8,
    }
    config = transformers.LlamaConfig(**{**LLAMA.to_dict(), "rope_scaling": scaling})
    torch.manual_seed(0)
    network = transformers.LlamaForCausalLM(config).eval()
    expected = expected_of(network)
    with torch.inference_mode():
        torch.testing.assert_close(Causal(network)(TOKENS), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "context", "message"),
    [
        (nn.Linear(2, 2), None, r"Linear holds no decoder of transformers; allowed: a causal network"),
        (transformers.LlamaForCausalLM(LLAMA), 25, r"context = 25; allowed: 24 or less"),
        (
            transformers.LlamaForCausalLM(
                transformers.LlamaConfig(**{**LLAMA.to_dict(), "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})
            ),
            None,
            r"rotated by 'dynamic', which depends on the length",
        ),
    ],
)
def test_what_can_not_go_on_is_refused(network: nn.Module, context: int | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Causal(network, context=context)
