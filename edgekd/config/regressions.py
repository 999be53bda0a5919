"""How much worse than the last release files may be: a table of metrics and limits, read as budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.records import Budget, Tolerances
from edgekd.stages.gate import gate
from edgekd.units import METRICS

# Where nothing else is said. Left out is what scatters from process to process (load time, first inference), and what
# says the same again (parity, agreement). The memory of one file differs by up to 2 % between benchmarks.
DEFAULT_TOLERANCES: Mapping[str, str] = {
    **dict.fromkeys(("accuracy", "exact_match", "f1", "auc"), "0.5 pt"),
    **dict.fromkeys(("mean_squared_error", "mean_absolute_error", "reconstruction_error"), "2 %"),
    **dict.fromkeys(("spearman", "perplexity", "bits_per_byte"), "2 %"),
    **dict.fromkeys(("file_size", "compressed_size", "arena_size", "sram_size", "dram_size", "flash_size"), "2 %"),
    "peak_memory": "10 %",
    "npu_share": "0.5 pt",
    "latency": "5 %",
    "energy": "5 %",
}


def read_regressions(table: Tolerances, where: str) -> tuple[Budget, ...]:
    """Make budgets of a table of metrics and limits.

    Args:
        table: Limits by metric; of metrics with quantiles also `metric.statistic`, or a table of statistics.
        where: Of the table, for messages.

    Raises:
        ConfigError: Everything that is wrong, at once.

    >>> read_regressions({"accuracy": "0.5 pt"}, "regressions")[0].metric
    'accuracy_drop'
    """
    problems = [
        ConfigError(error.what, where=key, allowed=error.allowed, next_step=error.next_step)
        for key, error in regression_problems(table, where)
    ]
    if problems:
        raise ConfigError.of(problems)
    return tuple(_budget(key, limit) for key, limit in flatten(table).items())


def regression_problems(table: Tolerances, where: str) -> Iterator[tuple[str, EdgekdError]]:
    """Find what is wrong with such a table, and where."""
    for key, limit in flatten(table).items():
        try:
            gate((), budgets=(_budget(key, limit),))
        except EdgekdError as error:
            yield f"{where}.{key}", error


def regression_metrics() -> dict[str, str]:
    """Metrics that files may be worse in than the last release, with what budgets call that.

    >>> regression_metrics()["accuracy"]
    'accuracy_drop'
    """
    return {each.source: each.name for each in METRICS.values() if each.source and "baseline" in each.references}


def read_tolerances(texts: Sequence[str]) -> dict[str, str]:
    """Read what people write as `METRIC=LIMIT` on the command line.

    Raises:
        ConfigError: Everything that is wrong, at once.

    >>> read_tolerances(["accuracy=1 pt"])
    {'accuracy': '1 pt'}
    """
    where, found = "--tolerance", {}
    problems: list[EdgekdError] = []
    for text in texts:
        key, equals, limit = (part.strip() for part in text.partition("="))
        if not equals or not limit:
            problems.append(ConfigError(f"'{text}' is no tolerance", where=where, allowed="METRIC=LIMIT"))
            continue
        found[key] = limit
    problems += [
        ConfigError(error.what, where=key, allowed=error.allowed, next_step=error.next_step)
        for key, error in regression_problems(found, where)
    ]
    if problems:
        raise ConfigError.of(problems)
    return found


def flatten(table: Tolerances) -> dict[str, str]:
    """Write a table without tables in it.

    >>> flatten({"accuracy": "1 pt", "sustained_latency": {"p50": "5 %"}})
    {'accuracy': '1 pt', 'sustained_latency.p50': '5 %'}
    """
    found: dict[str, str] = {}
    for key, value in table.items():
        found |= {key: value} if isinstance(value, str) else {f"{key}.{name}": limit for name, limit in value.items()}
    return found


def _budget(key: str, limit: str) -> Budget:
    name, _, statistic = key.partition(".")
    known = regression_metrics()
    if name not in known:
        raise ConfigError(f"unknown metric '{name}'", allowed=", ".join(known), next_step=did_you_mean(name, known))
    return Budget(metric=known[name], limit=limit, statistic=statistic or None, reference="baseline")
