"""Messages of errors, and errors that cross process borders."""

from __future__ import annotations

import pickle

import pytest

from edgekd import child, errors
from edgekd.errors import ConfigError, EdgekdError, did_you_mean
from edgekd.records import PRECISIONS, decode_precision

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EdgekdError)]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "no weights"),
        ({"where": "a.pt"}, "a.pt: no weights"),
        ({"allowed": "a, b"}, "no weights; allowed: a, b"),
        ({"next_step": "train it"}, "no weights; train it"),
        ({"where": "a.pt", "allowed": "a, b", "next_step": "train it"}, "a.pt: no weights; allowed: a, b; train it"),
    ],
)
def test_a_message_says_what_where_allowed_and_what_next(parts: dict[str, str], text: str) -> None:
    assert str(EdgekdError("no weights", **parts)) == text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[EdgekdError]) -> None:
    error = kind("no weights", where="a.pt", allowed="a, b", next_step="train it")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - pickled in the line above
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_errors_cross_process_borders() -> None:
    with pytest.raises(ConfigError) as caught:
        child.call("a decoder", decode_precision, "int7")
    assert (caught.value.what, caught.value.allowed) == ("unknown precision 'int7'", ", ".join(PRECISIONS))


def test_one_problem_stays_as_it_is() -> None:
    joined = ConfigError.of([EdgekdError("unknown key 'x'", where="recipe.toml", allowed="y", next_step="drop it")])
    assert type(joined) is ConfigError
    assert (joined.what, joined.where, joined.allowed, joined.next_step) == (
        "unknown key 'x'",
        "recipe.toml",
        "y",
        "drop it",
    )


def test_several_problems_are_listed_a_line_each() -> None:
    joined = ConfigError.of([ConfigError("one", where="a"), ConfigError("two", allowed="b")])
    assert str(joined) == "2 problems\n  a: one\n  two; allowed: b"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_exit_codes_tell_targets_from_users(kind: type[EdgekdError]) -> None:
    assert kind.exit_code == (3 if kind is errors.TargetError else 2)


@pytest.mark.parametrize(
    ("word", "suggestion"),
    [("resnet_8", "did you mean 'resnet8'?"), ("mobilenet", None), ("", None)],
)
def test_suggestions_are_made_only_for_close_words(word: str, suggestion: str | None) -> None:
    assert did_you_mean(word, ["resnet8", "mlp"]) == suggestion
