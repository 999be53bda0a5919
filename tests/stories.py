"""A real language model of 260,000 parameters, stories260K, in transformers: read from llama2.c's own file."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

FOLDER = "lm_stories260k"


def load_stories(shared_data: Path) -> Any:
    """By llama2.c's layout v0: seven sizes, then the weights of each kind for all layers, float32."""
    content = (shared_data / FOLDER / "stories260K.bin").read_bytes()
    width, hidden, layers, heads, kv_heads, vocabulary, length = struct.unpack("7i", content[:28])
    numbers, head = np.frombuffer(content, np.float32, offset=28).copy(), width // heads
    place = 0

    def take(*shape: int) -> Tensor:
        nonlocal place
        count = int(np.prod(shape))
        place += count
        return torch.from_numpy(numbers[place - count : place].reshape(shape))

    def halves(weights: Tensor) -> Tensor:
        """llama2.c rotates neighbours, transformers the halves of a head."""
        return weights.reshape(-1, head // 2, 2, width).transpose(1, 2).reshape(-1, width)

    table, norms = take(vocabulary, width), take(layers, width)
    queries, keys, values = take(layers, width, width), *(take(layers, kv_heads * head, width) for _ in range(2))
    outputs, norms_after = take(layers, width, width), take(layers, width)
    gates, downs, ups = take(layers, hidden, width), take(layers, width, hidden), take(layers, hidden, width)
    state = {"model.embed_tokens.weight": table, "lm_head.weight": table, "model.norm.weight": take(width)}
    for layer in range(layers):
        state |= {
            f"model.layers.{layer}.{name}.weight": weights
            for name, weights in {
                "input_layernorm": norms[layer],
                "self_attn.q_proj": halves(queries[layer]),
                "self_attn.k_proj": halves(keys[layer]),
                "self_attn.v_proj": values[layer],
                "self_attn.o_proj": outputs[layer],
                "post_attention_layernorm": norms_after[layer],
                "mlp.gate_proj": gates[layer],
                "mlp.down_proj": downs[layer],
                "mlp.up_proj": ups[layer],
            }.items()
        }
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=length,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=None,
    )
    network = transformers.LlamaForCausalLM(config).eval()
    network.load_state_dict(state)
    return network


def words_of(shared_data: Path) -> list[bytes]:
    """Tokens by number, of llama2.c's tokenizer file: the longest one's length; score, length and bytes of each."""
    content, place, words = (shared_data / FOLDER / "tok512.bin").read_bytes(), 4, []
    while place < len(content):
        (length,) = struct.unpack("i", content[place + 4 : place + 8])
        words.append(content[place + 8 : place + 8 + length])
        place += 8 + length
    return words


def greedy(network: Any, count: int) -> list[int]:
    """What transformers' own loop makes of the beginning of a text."""
    made = network.generate(torch.tensor([[1]]), max_new_tokens=count, do_sample=False)
    return [int(each) for each in made[0]]
