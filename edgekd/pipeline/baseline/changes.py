"""What is not as it was when the last release was made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from edgekd.config import read_table
from edgekd.records import Baseline, Change, Check, Conditions, Measurement

_HASH_LETTERS, _VALUE_LETTERS, _WHAT_LETTERS = 12, 60, 200
_ABSENT = "-"
# What moves a metric, the likeliest cause first; patterns of `Change.what`, {model} and {target} of the check.
_SCORES = (
    *("data", "recipe: distill.*", "recipe: student.*", "recipe: teachers.*", "teacher *", "recipe: export.*"),
    *("recipe: data.*", "operators of {model}", "recipe: transfer.*", "recipe: assistants.*"),
    *("target {target}: *", "tool *"),
)
_COSTS = (
    *("operators of {model}", "target {target}: *", "recipe: student.*", "recipe: export.*"),
    *("tool *", "recipe: benchmark.*", "recipe: distill.*"),
)
_MOST_NAMED = 3
_OF_SCORES = re.compile(
    r"(accuracy|exact_match|f1|macro_f1|mcc|auc|spearman|perplexity|bits_per_byte|parity|agreement|recall|\w*error)"
    r"_(drop|increase)"
)


def find_changes(before: Baseline, after: Baseline) -> tuple[Change, ...]:
    """Say what differs between what two releases were made of, and with.

    Args:
        before: The last release.
        after: This one; operators are compared where both sides know them.

    Returns:
        In the order recipe, data, teachers, tools, targets, files, operators.

    >>> find_changes(Baseline(name="a", data="1f"), Baseline(name="b", data="2e"))
    (Change(what='data', before='1f', after='2e'),)
    """
    found = [
        *_of_recipes(before, after),
        *_differing(_short({"data": before.data}), _short({"data": after.data}), "{}"),
        *_differing(_short(before.teachers), _short(after.teachers), "teacher {}"),
        *_differing(before.environment, after.environment, "tool {}"),
        *_of_targets(before.measurements, after.measurements),
        *_of_files(before, after),
    ]
    return tuple(found)


def name_causes(check: Check, changes: Iterable[Change]) -> str:
    """Name the changes that most likely moved what a check observed, as the end of its reason; nothing without any."""
    patterns = [
        pattern.format(model=_literal(check.model), target=_literal(check.target))
        for pattern in (_SCORES if _OF_SCORES.match(check.budget.metric) else _COSTS)
    ]
    ranked: dict[str, Change] = {}
    changes = list(changes)
    for pattern in patterns:
        ranked |= {each.what: each for each in changes if each.what not in ranked and fnmatchcase(each.what, pattern)}
    if not ranked:
        return ""
    named = [describe(each) for each in ranked.values()]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"; changed since: {', '.join(named[:_MOST_NAMED])}{more}"


def describe(change: Change) -> str:
    """Write a change as people say it.

    >>> describe(Change(what="recipe: distill.epochs", before="60", after="3"))
    'recipe: distill.epochs 60 → 3'
    """
    return f"{change.what} {change.before} → {change.after}"


def _of_recipes(before: Baseline, after: Baseline) -> Iterator[Change]:
    if before.recipe and after.recipe:
        tables = [read_table(each.recipe, each.overrides, where=f"recipe of {each.name}") for each in (before, after)]
        old, new = (dict(_flat(table)) for table in tables)
        yield from _differing(old, new, "recipe: {}")


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values; lists of tables by number."""
    is_tables = isinstance(value, list) and value and all(isinstance(each, dict) for each in value)
    if isinstance(value, dict) or is_tables:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in pairs:
            yield from _flat(each, f"{key}.{name}".removeprefix("."))
    else:
        yield key, value if isinstance(value, str) else json.dumps(value, default=str)


def _of_targets(before: Iterable[Measurement], after: Iterable[Measurement]) -> Iterator[Change]:
    """Conditions that differ between measurements of the same thing, by target; each once."""
    earlier = {(each.model, each.target, each.metric): each for each in before}
    seen: set[Change] = set()
    for each in after:
        other = earlier.get((each.model, each.target, each.metric))
        if other is None:
            continue
        for change in differing_conditions(other.conditions, each.conditions, each.target):
            if change not in seen:
                seen.add(change)
                yield change


def differing_conditions(before: Conditions, after: Conditions, target: str) -> tuple[Change, ...]:
    """Say under which other conditions something was measured."""
    old, new = ({name: _word(getattr(each, name)) for name in Conditions.MUST_AGREE} for each in (before, after))
    return tuple(_differing(old, new, f"target {target}: {{}}"))


def _of_files(before: Baseline, after: Baseline) -> Iterator[Change]:
    old, new = ({each.name: each for each in side.files} for side in (before, after))
    yield from _differing(dict.fromkeys(old, "there"), dict.fromkeys(new, "there"), "file {}")
    for name in [each for each in old if each in new]:
        kinds, kinds_now = old[name].operators, new[name].operators
        if kinds and kinds_now and dict(kinds) != dict(kinds_now):
            differ = sorted(kind for kind in {*kinds, *kinds_now} if kinds.get(kind, 0) != kinds_now.get(kind, 0))
            counts = [", ".join(f"{kind} {each.get(kind, 0)}" for kind in differ) for each in (kinds, kinds_now)]
            what = _clean(f"operators of {name}", _WHAT_LETTERS)
            yield Change(what=what, before=_clean(counts[0]), after=_clean(counts[1]))


def _differing(before: Mapping[str, str], after: Mapping[str, str], what: str) -> Iterator[Change]:
    """Entries that differ; none where a side knows nothing at all."""
    for key in dict.fromkeys((*before, *after)) if before and after else ():
        old, new = before.get(key, ""), after.get(key, "")
        if old != new:
            yield Change(what=_clean(what.format(key), _WHAT_LETTERS), before=_clean(old), after=_clean(new))


def _short(hashes: Mapping[str, str]) -> dict[str, str]:
    return {name: digest[:_HASH_LETTERS] for name, digest in hashes.items() if digest}


def _word(value: object) -> str:
    return "" if value is None else str(value)


def _clean(text: str, letters: int = _VALUE_LETTERS) -> str:
    """One short line: recipes may hold anything."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split()) or _ABSENT
    return line if len(line) <= letters else f"{line[: letters - 1]}…"


def _literal(name: str) -> str:
    """A name as a pattern that means itself."""
    return re.sub(r"([*?[])", r"[\1]", name)
