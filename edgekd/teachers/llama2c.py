"""A causal language model in llama2.c's format, such as the TinyStories models (Karpathy 2023)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.frameworks.language_models import llama, other_vocabulary
from edgekd.frameworks.transformers import too_long

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEADER = struct.Struct("<7i")
_ALLOWED = "a checkpoint of version 0 as llama2.c's export.py writes it, in fp32"
# Larger sizes than any network has: what is no header at all.
_LARGEST = 2**24


def load(*, weights: Path, outputs: int, input_shape: tuple[int, ...] | None = None) -> nn.Module:
    """Load a checkpoint as a frozen teacher; its numbers alone are read.

    The file is seven int32 (width, feed-forward width, layers, heads, heads of keys and values, vocabulary, which is
    negative where the last layer is not the embedding, and context), then float32 matrices in the order of llama2.c's
    `memory_map_weights`. Its rotary positions turn neighbouring numbers, transformers' the two halves of a head, so
    rows of queries and keys change places.

    Args:
        weights: The .bin file.
        outputs: Size of the data's vocabulary.
        input_shape: (T,), tokens of a sample, which must not be more than it was trained with.

    Returns:
        From (B, T) tokens to logits (B, T, outputs), with `hidden` and `head`.

    Raises:
        ModelError: Missing, damaged, of another version, or of another vocabulary.
        MissingExtraError: transformers is not installed.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "own.bin"
    >>> _ = file.write_bytes(bytes(28))
    >>> try:
    ...     load(weights=file, outputs=512)
    ... except ModelError as error:
    ...     print(error.what)
    no such network: sizes 0, 0, 0, 0, 0, 0, 0
    """
    path, where = Path(weights), str(weights)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't read it: {error.strerror or error}", where=where, allowed=_ALLOWED) from None
    if len(content) < _HEADER.size:
        raise ModelError(f"{len(content)} bytes", where=where, allowed=_ALLOWED)
    sizes = _HEADER.unpack_from(content)
    width, feed_forward, layers, heads, key_heads, signed, context = sizes
    vocabulary = abs(signed)
    if (
        not all(0 < size < _LARGEST for size in (*sizes[:5], vocabulary, context))
        or width % (2 * heads)
        or heads % key_heads
    ):
        raise ModelError(f"no such network: sizes {', '.join(map(str, sizes))}", where=where, allowed=_ALLOWED)
    # Before anything is built of sizes that the file does not bear out.
    shapes = _shapes(width, feed_forward, layers, heads, key_heads, vocabulary, context, tied=signed > 0)
    needed = _HEADER.size + 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    if len(content) != needed:
        raise ModelError(f"{len(content)} bytes, its sizes make {needed}", where=where, allowed=_ALLOWED)
    if vocabulary != outputs:
        raise other_vocabulary(vocabulary, outputs, where)
    if input_shape and input_shape[0] > context:
        raise too_long(context, input_shape[0], where)
    network = llama(
        {
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": feed_forward,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": key_heads,
            "max_position_embeddings": context,
            "tie_word_embeddings": signed > 0,
            "rms_norm_eps": 1e-5,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }
    )
    network.network.load_state_dict(_state(content, shapes, layers, heads, key_heads, tied=signed > 0))
    return network.requires_grad_(requires_grad=False).eval()


def _shapes(
    width: int,
    feed_forward: int,
    layers: int,
    heads: int,
    key_heads: int,
    vocabulary: int,
    context: int,
    *,
    tied: bool,
) -> dict[str, tuple[int, ...]]:
    """List the arrays as they follow one another."""
    keys = width * key_heads // heads
    return {
        "embedding": (vocabulary, width),
        "input_layernorm": (layers, width),
        "self_attn.q_proj": (layers, width, width),
        "self_attn.k_proj": (layers, keys, width),
        "self_attn.v_proj": (layers, keys, width),
        "self_attn.o_proj": (layers, width, width),
        "post_attention_layernorm": (layers, width),
        "mlp.gate_proj": (layers, feed_forward, width),
        "mlp.down_proj": (layers, width, feed_forward),
        "mlp.up_proj": (layers, feed_forward, width),
        "norm": (width,),
        # Tables of sines and cosines, which nobody reads any more.
        "cosines": (context, width // heads // 2),
        "sines": (context, width // heads // 2),
        **({} if tied else {"head": (vocabulary, width)}),
    }


def _state(
    content: bytes, shapes: dict[str, tuple[int, ...]], layers: int, heads: int, key_heads: int, *, tied: bool
) -> dict[str, Tensor]:
    arrays: dict[str, NDArray[np.float32]] = {}
    at = _HEADER.size
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(content, "<f4", count, at).reshape(shape)
        at += 4 * count
    state = {
        "model.embed_tokens.weight": arrays["embedding"],
        "model.norm.weight": arrays["norm"],
        "lm_head.weight": arrays["embedding" if tied else "head"],
    }
    for layer in range(layers):
        for name, array in arrays.items():
            if len(shapes[name]) > 1 and name not in ("embedding", "head", "cosines", "sines"):
                own = array[layer]
                if name.endswith(("q_proj", "k_proj")):
                    own = _halved(own, heads if "q_" in name else key_heads)
                state[f"model.layers.{layer}.{name}.weight"] = own
    return {key: torch.from_numpy(np.array(value)) for key, value in state.items()}


def _halved(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Put the first of each pair of rows into the first half of its head, the second into the second."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, rows // heads // 2, 2, columns).transpose(0, 2, 1, 3).reshape(rows, columns)
