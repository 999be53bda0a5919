"""BERT from a configuration against transformers' own, and what its options do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from edgekd import losses
from edgekd.datasets import Dataset, Split
from edgekd.errors import ConfigError, DataError
from edgekd.networks import bert
from edgekd.records import DistillSpec, InitSpec, LossTerm, Tokens
from edgekd.stages.distill import distill

TOKENS = Tokens(vocabulary=60, pad=0)
SMALL: dict[str, Any] = {"classes": 3, "input_shape": (8,), "tokens": TOKENS, "layers": 2, "hidden": 16, "heads": 4}
TEXTS = torch.tensor([[5, 7, 59, 3, 1, 2, 8, 9], [9, 8, 7, 0, 0, 0, 0, 0]])


def test_it_is_transformers_bert_with_a_mask_of_the_pad() -> None:
    torch.manual_seed(0)
    network = bert.build(**SMALL, intermediate=24).eval()
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=8, num_labels=3,
    )  # fmt: skip
    reference = transformers.BertForSequenceClassification(config).eval()
    reference.load_state_dict(network.get_submodule("network").state_dict())
    wanted = reference(input_ids=TEXTS, attention_mask=(TEXTS != 0).long()).logits
    torch.testing.assert_close(network(TEXTS), wanted)
    torch.testing.assert_close(network(TEXTS.float()), wanted)
    assert network.takes_tokens


@pytest.mark.parametrize("options", [{}, {"embedding": 6}, {"pool": "mean"}])
def test_padding_changes_nothing(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = bert.build(**SMALL, **options).eval()
    torch.testing.assert_close(network(TEXTS[1:, :3]), network(TEXTS[1:]))


def test_factorised_embeddings_are_narrower_and_projected() -> None:
    chosen: tuple[dict[str, Any], ...] = ({}, {"embedding": 6})
    sizes = [
        sum(each.numel() for name, each in bert.build(**SMALL, **options).named_parameters() if "word_emb" in name)
        for options in chosen
    ]
    assert sizes == [60 * 16, 60 * 6]


def test_the_mean_over_tokens_is_the_embedding_of_a_sentence() -> None:
    torch.manual_seed(0)
    network = bert.build(**SMALL, pool="mean").eval()
    seen: list[torch.Tensor] = []
    network.get_submodule("pool").register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    network(TEXTS)
    states = network.get_submodule("bert")(input_ids=TEXTS, attention_mask=(TEXTS != 0).long()).last_hidden_state
    torch.testing.assert_close(seen[0], torch.stack([states[0].mean(0), states[1, :3].mean(0)]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"heads": 3}, "heads = 3 of hidden = 16; allowed: a divisor"),
        ({"layers": 0}, "layers = 0; allowed: a whole number, at least 1"),
        ({"dropout": 1.0}, "dropout = 1.0; allowed: 0 to 1, 1 excluded"),
        ({"positions": 4}, "positions = 4; allowed: at least 8"),
        ({"pool": "max"}, "pool = 'max'; allowed: 'first', 'mean'"),
        ({"pool": "mean", "embedding": 4}, "embedding with pool = 'mean'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bert.build(**{**SMALL, **options})
    assert f"network bert: {words}" in str(caught.value)


def test_other_data_than_texts_are_refused() -> None:
    with pytest.raises(DataError, match=r"shape .*8.* and no tokens; allowed: texts"):
        bert.build(**{**SMALL, "tokens": None})
    with pytest.raises(DataError, match="allowed: texts"):
        bert.build(**{**SMALL, "input_shape": (3, 8, 8)})


def test_a_student_of_half_the_layers_learns_relations_hidden_states_and_embeddings() -> None:
    chance = np.random.default_rng(0)
    texts = chance.integers(3, 60, (40, 8)).astype(np.int32)
    labels = np.arange(40) % 3
    texts[:, 0] = labels  # of which 0 is the pad, too
    texts[::2, 5:] = 0
    split = Split(inputs=texts, labels=labels)
    names = ("a", "b", "c")
    data = Dataset(classes=names, scale=1.0, train=split, validation=split, test=split, tokens=TOKENS)
    torch.manual_seed(0)
    teacher, student = bert.build(**{**SMALL, "layers": 4}), bert.build(**SMALL)
    layer = "network.bert.encoder.layer"
    own, other = f"{layer}.1.attention.self", f"{layer}.3.attention.self"
    terms: tuple[LossTerm, ...] = (
        *(
            losses.minilm(student_layer=f"{own}.{each}", teacher_layer=f"{other}.{each}", heads=8)
            for each in ("query", "key", "value")
        ),
        losses.minilm(
            student_layer=f"{own}.query+{own}.key",
            teacher_layer=f"{other}.query+{other}.key",
            heads=4,
            relation="query_key",
        ),
        losses.cosine(student_layer=f"{layer}.1", teacher_layer=f"{layer}.3"),
        losses.hint(student_layer="network.bert.embeddings", teacher_layer="network.bert.embeddings"),
        losses.kl(temperature=2.0),
    )
    spec = DistillSpec(
        epochs=2,
        batch_size=20,
        learning_rate=1e-3,
        optimizer="adamw",
        losses=terms,
        weak_teachers="warn",
        init=InitSpec(),
    )
    trained = distill(student, data=data, teachers=[teacher], spec=spec)
    shares = trained.history[0].terms
    assert [each.name for each in shares] == [term.name for term in terms]
    assert all(each.gradient > 0 for each in shares)
    assert trained.history[1].train_loss < trained.history[0].train_loss
