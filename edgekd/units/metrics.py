"""The table of metrics that budgets can limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekd.records import Bound, Reference

# Factor to the base unit of each dimension: bytes, seconds, a share of one; errors are in the labels' own unit.
UNITS: dict[str, dict[str, float]] = {
    "size": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "time": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0},
    "energy": {"nJ": 1e-9, "uJ": 1e-6, "µJ": 1e-6, "mJ": 1e-3, "J": 1.0},
    "rate": {"tokens/s": 1.0},
    "power": {"µW": 1e-6, "uW": 1e-6, "mW": 1e-3, "W": 1.0},
    "share": {"%": 0.01},
    "drop": {"pt": 0.01, "%": 0.01},
    "number": {"": 1},
    "increase": {"": 1, "%": 0.01},
    "ratio": {"%": 0.01},
}
# What a size or the like has more of than that of the last release: in its own unit, or as a share of it.
UNITS |= {f"more {each}": {**UNITS[each], "%": 0.01} for each in ("size", "time", "energy", "rate")}
BASE_UNIT = {
    "size": "B",
    "time": "s",
    "energy": "J",
    "power": "W",
    "rate": "tokens/s",
    "share": "1",
    "drop": "1",
    "number": "",
    "increase": "",
    "ratio": "1",
    "more size": "B",
    "more time": "s",
    "more energy": "J",
    "more rate": "tokens/s",
}
Estimator = Literal[
    "exact",
    "count",
    "largest",
    "quantile",
    "proportion",
    "mean",
    "area",
    "recall",
    "confusion",
    "rank",
    "calibration",
    "perplexity",
    "bits",
    "formula",
]
_TEACHER_OR_STUDENT: tuple[Reference, ...] = ("teacher", "student", "baseline")


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric is.

    Attributes:
        dimension: A key of `UNITS`.
        bound: Whether a budget bounds it from above or below.
        estimator: What the samples say: they are one `exact` fact, or `count` several; the `largest` counts, of rates
            the smallest; a `quantile`, of rates that which so many reach; a `proportion` of right and wrong answers; a
            `mean`; an `area` under the ROC curve, of scores and labels; a `recall`, or another score of the
            `confusion`, of predicted and true classes; a `rank` correlation of predicted and true values; a
            `calibration`, of confidences and right or wrong; a `perplexity` or `bits`, of nats per token or byte in
            each window, with its tokens or bytes as labels; or several metrics in a `formula`.
        source: Of drops and increases: the metric that one model has less or more of than another.
        references: Of drops and increases: whose metric that may be.
        has_parts: Whether its samples are of several things, one of which a budget may be about.
        told_by: The metric whose measurements say it too, where it has none of its own.
    """

    name: str
    dimension: str
    bound: Bound
    summary: str
    estimator: Estimator
    source: str | None = None
    references: tuple[Reference, ...] = ()
    has_parts: bool = False
    told_by: str | None = None

    @property
    def unit(self) -> str:
        """Unit in which it is stored."""
        return BASE_UNIT[self.dimension]

    @property
    def is_regression(self) -> bool:
        """Whether it only says how much worse a file is than that of the last release."""
        return self.references == ("baseline",)


def _share(name: str, summary: str, estimator: Estimator, *, has_parts: bool = False) -> Metric:
    return Metric(
        name=name, dimension="share", bound="at least", summary=summary, estimator=estimator, has_parts=has_parts
    )


def _number(name: str, summary: str, estimator: Estimator = "mean") -> Metric:
    return Metric(
        name=name,
        dimension="number",
        bound="at most",
        summary=summary,
        estimator=estimator,
        has_parts=estimator == "count",
    )


def _confusion(name: str, dimension: str, summary: str) -> Metric:
    return Metric(
        name=name,
        dimension=dimension,
        bound="at least",
        summary=summary,
        estimator="confusion",
        told_by="recall",
    )


def _size(name: str, summary: str, estimator: Literal["exact", "largest"] = "exact") -> Metric:
    return Metric(name=name, dimension="size", bound="at most", summary=summary, estimator=estimator)


def _time(name: str, summary: str, estimator: Literal["largest", "quantile"] = "largest") -> Metric:
    return Metric(name=name, dimension="time", bound="at most", summary=summary, estimator=estimator)


# What a model gets right or wrong; `edgekd.metrics` says which of them each task has.
_SCORES = (
    _share("accuracy", "share of test samples predicted right", "proportion"),
    _share("exact_match", "share of test samples with exactly the right labels", "proportion"),
    _share("f1", "F1 of the labels of a test sample, mean over samples", "mean"),
    _share("auc", "chance that an anomaly scores higher than a normal sample", "area"),
    _number("mean_squared_error", "squared error, mean over outputs and test samples"),
    _number("mean_absolute_error", "absolute error, mean over outputs and test samples"),
    _number("reconstruction_error", "squared error of what a normal test sample is rebuilt as"),
    Metric(
        name="spearman",
        dimension="number",
        bound="at least",
        summary="Spearman's rank correlation of predicted and true values, of a single output",
        estimator="rank",
    ),
    _confusion("mcc", "number", "Matthews' correlation of predicted and true classes"),
    _confusion("macro_f1", "share", "F1 of each class, mean over classes"),
    _number("perplexity", "e to the power of the mean negative log-likelihood of a token", "perplexity"),
    _number("bits_per_byte", "mean negative log-likelihood of a byte of text, in bits", "bits"),
)
# Of causal language models; `part` is the number of tokens before the first new one, or in the cache.
_OF_TOKENS = (
    Metric(
        name="prefill_rate",
        dimension="rate",
        bound="at least",
        summary="tokens of a prompt that a language model reads in a second, the smallest seen",
        estimator="largest",
        has_parts=True,
    ),
    Metric(
        name="decode_rate",
        dimension="rate",
        bound="at least",
        summary="tokens that a language model gives in a second, of each token by itself",
        estimator="quantile",
        has_parts=True,
    ),
    Metric(
        name="time_to_first_token",
        dimension="time",
        bound="at most",
        summary="time from a prompt to the first token after it",
        estimator="largest",
        has_parts=True,
    ),
    Metric(
        name="context_memory",
        dimension="size",
        bound="at most",
        summary="peak resident memory added by a language model with so many tokens in its cache",
        estimator="largest",
        has_parts=True,
    ),
)
_OTHERS = (
    _size("file_size", "bytes of the file"),
    _size("compressed_size", "bytes of the file after gzip -9"),
    _size("zstd_size", "bytes of the file after zstd -19"),
    _share(
        "recall",
        "share of a class's test samples that are predicted right; of the worst, or of each in `part`",
        "recall",
        has_parts=True,
    ),
    Metric(
        name="calibration_error",
        dimension="drop",
        bound="at most",
        summary="how far confidence is from accuracy, mean over 15 bins of as many test samples each",
        estimator="calibration",
    ),
    _time("latency", "time of one steady-state inference", "quantile"),
    _time("sustained_latency", "the same in the last minute of a long run", "quantile"),
    _time("window_latency", "mean time of an inference in each of several windows of ten seconds or more"),
    _time("load_time", "time to load the model"),
    _time("first_inference", "time of the first inference"),
    Metric(
        name="energy",
        dimension="energy",
        bound="at most",
        summary="energy of one inference, as far as the target tells it; nothing is subtracted for idling",
        estimator="mean",
    ),
    _size("peak_memory", "peak resident memory added by the model", "largest"),
    *_OF_TOKENS,
    _size("arena_size", "tensor arena of TFLite Micro"),
    _size("sram_size", "SRAM that Vela plans for on an Ethos-U"),
    _size("dram_size", "DRAM that Vela plans for on an Ethos-U"),
    _size("flash_size", "flash that Vela plans for on an Ethos-U"),
    _share("npu_share", "share of operators that Vela gives to the Ethos-U", "exact"),
    _share("parity", "share of samples where the file predicts what the torch student predicts", "proportion"),
    _share("agreement", "share of test samples where the target predicts what the host does", "proportion"),
    _share("teacher_agreement", "share of test samples where the file predicts what the teachers do", "proportion"),
    _number("operators", "operators of the file, all or of the kinds in `part`", "count"),
    _number("lint", "what lint found in the file for a target, all or of the rules in `part`", "count"),
)


def _loss_of(score: Metric) -> Metric:
    """The metric that says how much worse one model is than another."""
    what = (
        score.name.replace("_", " ")
        .replace("auc", "AUC")
        .replace("f1", "F1")
        .replace("mcc", "MCC")
        .replace("spearman", "rank correlation")
    )
    if score.dimension == "share":
        return Metric(
            name=f"{score.name}_drop",
            dimension="drop",
            bound="at most",
            summary=f"{what} lost against the teacher or student: '2 pt' in points, '2 %' of the reference",
            estimator=score.estimator,
            source=score.name,
            references=_TEACHER_OR_STUDENT,
        )
    is_error = score.bound == "at most"
    return Metric(
        name=f"{score.name}_{'increase' if is_error else 'drop'}",
        dimension="increase",
        bound="at most",
        summary=f"{what} {'added to' if is_error else 'lost against'} that of the teacher or student: '0.02', or "
        "'2 %' of the reference",
        estimator=score.estimator,
        source=score.name,
        references=_TEACHER_OR_STUDENT,
    )


# Times that are held against those of the last release in turns, so that only their ratio is known.
_BY_TURNS = "latency"
_DIMENSION_OF_MORE = {"share": "drop", "drop": "drop", "number": "increase"}


def _regression_of(metric: Metric) -> Metric:
    """The metric that says how much worse a file is than that of the last release."""
    what, is_share = metric.name.replace("_", " "), metric.bound == "at least"
    dimension = _DIMENSION_OF_MORE.get(metric.dimension, f"more {metric.dimension}")
    return Metric(
        name=f"{metric.name}_{'drop' if is_share else 'increase'}",
        dimension="ratio" if metric.name == _BY_TURNS else dimension,
        bound="at most",
        summary=f"{what} {'lost against' if is_share else 'added to'} that of the last release",
        estimator=metric.estimator,
        source=metric.name,
        references=("baseline",),
        has_parts=metric.has_parts,
    )


METRICS = {
    metric.name: metric
    for metric in (
        *(each for score in _SCORES for each in (score, _loss_of(score))),
        *_OTHERS,
        *map(_regression_of, _OTHERS),
    )
}
