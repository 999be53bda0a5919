"""Self-attention relations against loops in NumPy, and against torch's own attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from torch.nn import functional

from edgekd import registry
from edgekd.errors import ConfigError

minilm = registry.function("losses", "minilm")
check_shapes = registry.load("losses", "minilm").check_shapes


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_equals_the_formula(heads: int) -> None:
    chance = np.random.default_rng(0)
    student, teacher = chance.normal(size=(3, 5, 8)), chance.normal(size=(3, 5, 16))
    total = 0.0
    for b in range(3):
        for a in range(heads):
            relations = []
            for feature in (teacher[b], student[b]):
                d = feature.shape[1] // heads
                part = feature[:, a * d : (a + 1) * d]
                relations.append(softmax(part @ part.T / np.sqrt(d), axis=1))
            total += rel_entr(*relations).sum()
    found = minilm(student_feature=torch.from_numpy(student), teacher_feature=torch.from_numpy(teacher), heads=heads)
    assert float(found) == pytest.approx(total / (3 * heads * 5), rel=1e-9)


def test_relations_are_those_of_torch_s_attention() -> None:
    student, teacher = torch.randn(2, 2, 4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # Attention with an identity as values gives its weights.
    weights = []
    for feature in (student, teacher):
        parts = feature.view(2, 4, 3, 4).transpose(1, 2)
        values = torch.eye(4, dtype=torch.float64).expand(2, 3, 4, 4)
        weights.append(functional.scaled_dot_product_attention(parts, parts, values))
    expected = functional.kl_div(weights[0].log(), weights[1], reduction="sum") / (2 * 3 * 4)
    torch.testing.assert_close(minilm(student_feature=student, teacher_feature=teacher, heads=3), expected)


def test_padding_is_neither_related_nor_counted() -> None:
    student, teacher = torch.randn(2, 3, 6, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lengths = [6, 2, 4]
    alone = [
        minilm(student_feature=student[b : b + 1, :length], teacher_feature=teacher[b : b + 1, :length], heads=3)
        for b, length in enumerate(lengths)
    ]
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    found = minilm(student_feature=student, teacher_feature=teacher, heads=3, mask=mask)
    torch.testing.assert_close(found, torch.stack(alone).mean())


def test_queries_and_keys_are_the_attention_of_a_transformer() -> None:
    # transformers' own probabilities, as MiniLM's equation 4 takes them of the last layer.
    transformers = pytest.importorskip("transformers")
    settings = {"vocab_size": 30, "num_hidden_layers": 1, "intermediate_size": 8, "max_position_embeddings": 8}
    tokens = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 0, 0]])
    features, attentions = [], []
    for width in (8, 16):
        torch.manual_seed(width)
        config = transformers.BertConfig(**settings, hidden_size=width, num_attention_heads=4, initializer_range=0.5)
        config._attn_implementation = "eager"
        network = transformers.BertModel(config).double().eval()
        seen: dict[str, torch.Tensor] = {}
        projections = network.encoder.layer[0].attention.self
        for name in ("query", "key"):
            getattr(projections, name).register_forward_hook(
                lambda _module, _inputs, output, name=name, seen=seen: seen.__setitem__(name, output)
            )
        with torch.no_grad():
            found = network(input_ids=tokens, attention_mask=(tokens != 0).long(), output_attentions=True)
        attentions.append(found.attentions[0].numpy())
        features.append(torch.cat([seen["query"], seen["key"]], dim=-1))
    total = 0.0
    for b, length in enumerate((5, 3)):
        student, teacher = (each[b, :, :length, :length] for each in attentions)
        total += rel_entr(teacher, student).sum() / (4 * length)
    value = minilm(
        student_feature=features[0], teacher_feature=features[1], heads=4, relation="query_key", mask=tokens != 0
    )
    assert float(value) == pytest.approx(total / 2, rel=1e-6)


def test_rotation_within_a_head_is_free() -> None:
    teacher = torch.randn(2, 5, 8, dtype=torch.float64)
    turned = torch.stack([teacher[..., 1], -teacher[..., 0], *teacher.unbind(-1)[2:]], dim=-1)
    assert float(minilm(student_feature=turned, teacher_feature=teacher, heads=4)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("student", "teacher", "heads", "message"),
    [
        ((5, 24), (6, 24), 12, "two sequences (tokens, width) of equal length"),
        ((24,), (5, 24), 12, "the student's layer gives (24,), the teacher's (5, 24)"),
        ((5, 24), (5, 30), 12, "the teacher's width 30 does not divide into heads = 12"),
        ((5, 20), (5, 24), 12, "the student's width 20 does not divide into heads = 12"),
        ((5, 24), (5, 24), 0, "heads = 0; allowed: a whole number, at least 1"),
        ((5, 0), (5, 24), 12, "one or more sizes"),
    ],
)
def test_shapes_that_cannot_match_are_refused(
    student: tuple[int, ...], teacher: tuple[int, ...], heads: int, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_shapes(student_shape=student, teacher_shape=teacher, heads=heads)
    assert message in str(caught.value)
    assert str(caught.value).startswith("loss minilm: ")
