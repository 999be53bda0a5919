"""How much each term of a loss counts over the training, and which of them hardly do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekd.records import EpochRecord
from edgekd.stages.report.charts import COLOURS, Chart, Spec, specification, thinned
from edgekd.stages.report.seeds import group_of, groups_of

LEAST = 0.01  # a term with a smaller share of the gradient changes next to nothing


@dataclass(frozen=True, kw_only=True)
class TermBalance:
    """One term of a network's loss, over all of its seeds and the epochs in which its weight is above 0.

    Attributes:
        network: Its name without the seed.
        term: As in the recipe; numbered where a term is there more than once.
        weight: Its lowest and highest weight.
        loss: Its mean share of the loss.
        gradient: Its mean share of the gradient; `lowest` and `highest` are the extremes.
        warning: What is wrong with it and what to do; empty where nothing is.
    """

    network: str
    term: str
    weight: tuple[float, float]
    loss: float
    gradient: float
    lowest: float
    highest: float
    warning: str


def balances(histories: Mapping[str, Sequence[EpochRecord]]) -> tuple[TermBalance, ...]:
    """Sum up the shares of every term of every network that was trained with several losses.

    >>> balances({"student": ()})
    ()
    """
    found = []
    for network, names in groups_of(histories).items():
        for term, shares in _by_term([record for name in names for record in histories[name]]).items():
            at_work = [share for share in shares if share[1] > 0 and math.isfinite(share[3])]
            if not at_work:
                continue  # its weight is 0 throughout, or it never gave a number
            _, weights, losses, gradients = zip(*at_work, strict=True)
            mean = float(np.mean(gradients))
            found.append(
                TermBalance(
                    network=network,
                    term=term,
                    weight=(min(weights), max(weights)),
                    loss=float(np.mean(losses)),
                    gradient=mean,
                    lowest=min(gradients),
                    highest=max(gradients),
                    warning=_warning(network, term, mean) if mean < LEAST else "",
                )
            )
    return tuple(found)


def _warning(network: str, term: str, gradient: float) -> str:
    return (
        f"{term} has {gradient * 100:.2g} % of the gradient of {network}, below {LEAST * 100:g} %: "
        "it changes next to nothing; raise its weight or leave it out"
    )


def _by_term(records: Sequence[EpochRecord]) -> dict[str, list[tuple[int, float, float, float]]]:
    """Epoch, weight, share of loss and share of gradient of each term."""
    found: dict[str, list[tuple[int, float, float, float]]] = {}
    for record in records:
        names = [share.name for share in record.terms]
        for order, share in enumerate(record.terms):
            # A recipe may hold a loss twice, at other temperatures or layers.
            name = (
                share.name if names.count(share.name) == 1 else f"{share.name} ({names[: order + 1].count(share.name)})"
            )
            found.setdefault(name, []).append((record.epoch, share.weight, share.loss, share.gradient))
    return found


def balance_chart(histories: Mapping[str, Sequence[EpochRecord]]) -> Chart | None:
    """Plot each term's share of the gradient over epochs; `None` where no network has several losses."""
    options = []
    # Of most interest is the student.
    for network, records in sorted(histories.items(), key=lambda each: group_of(each[0]) != "student"):
        by_term = _by_term(records)
        if by_term:
            options.append((network, _spec(network, by_term)))
    if not options:
        return None
    return Chart(
        name="balance",
        title="Share of the gradient",
        caption="Of the first batch of each epoch. Below the dashed line, at 1 %, a term changes next to nothing. "
        "The vertical axis is logarithmic.",
        options=tuple(options),
        choose="Network",
    )


def _spec(network: str, by_term: Mapping[str, Sequence[tuple[int, float, float, float]]]) -> Spec:
    values: list[dict[str, Any]] = [
        {"term": term, "epoch": epoch, "weight": weight, "loss": _percent(loss), "value": _percent(gradient)}
        for term, shares in by_term.items()
        for epoch, weight, loss, gradient in thinned(shares)
        if gradient > 0  # the axis is logarithmic
    ]
    names = list(by_term)
    x = {
        "field": "epoch",
        "type": "quantitative",
        "title": "epoch",
        "axis": {"tickMinStep": 1, "tickCount": 8, "format": "d", "labelOverlap": "greedy"},
        "scale": {"zero": False, "nice": False},
    }
    lowest = min((value["value"] for value in values if value["value"]), default=1.0)
    y = {
        "field": "value",
        "type": "quantitative",
        "title": "share of the gradient (%)",
        "scale": {"type": "log", "domain": [min(0.5, lowest / 1.2), 110], "nice": False},
        "axis": {"format": "~g", "values": [10.0**power for power in range(-6, 3)], "labelOverlap": "greedy"},
    }
    layers: list[Spec] = [
        {
            "data": {"values": [{"value": LEAST * 100}]},
            "mark": {"type": "rule", "strokeDash": [6, 4], "color": "var(--edge)", "strokeWidth": 1.5},
            "encoding": {"y": y},
        },
        {
            "data": {"values": values},
            "mark": {"type": "line", "point": {"size": 24}, "strokeWidth": 1.8},
            "encoding": {
                "x": x,
                "y": y,
                "color": {
                    "field": "term",
                    "type": "nominal",
                    "title": None,
                    "legend": {"columns": 3},
                    "scale": {"domain": names, "range": [COLOURS[i % len(COLOURS)] for i in range(len(names))]},
                },
                "tooltip": [
                    {"field": "term", "type": "nominal"},
                    {"field": "epoch", "type": "quantitative"},
                    {"field": "weight", "type": "quantitative", "format": ".4~g"},
                    {"field": "value", "type": "quantitative", "title": "gradient (%)", "format": ".3~g"},
                    {"field": "loss", "type": "quantitative", "title": "loss (%)", "format": ".3~g"},
                ],
            },
        },
    ]
    return specification(f"Each term's share of the gradient of {network} over epochs", 240, layer=layers)


def _percent(share: float) -> float | None:
    return float(f"{share * 100:.4g}") if math.isfinite(share) else None
