"""The tables of the guide on language models are a recipe, with data of either kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgekd.config import load_recipe
from edgekd.units import METRICS

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "language-models.md").read_text(encoding="utf-8")
TABLES = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("left_out", "source"), [(1, "text_stream"), (0, "written_text")])
def test_its_tables_make_one_recipe(tmp_path: Path, left_out: int, source: str) -> None:
    assert len(TABLES) == 5
    recipe = tmp_path / "own.toml"
    recipe.write_text('name = "own"\n' + "".join(each for place, each in enumerate(TABLES) if place != left_out))
    loaded = load_recipe(str(recipe)).recipe
    assert loaded.data.source == source
    assert loaded.distill.generation is not None
    assert loaded.distill.generation.on_policy == 0.5
    assert [budget.metric for budget in loaded.budgets] == ["perplexity", "perplexity_increase", "decode_rate"]


def test_what_it_names_is_there() -> None:
    assert "edgekd init stories-llm" in GUIDE
    assert load_recipe("stories-llm").recipe.name == "stories-llm"
    for metric in ("bits_per_byte", "prefill_rate", "time_to_first_token", "context_memory"):
        assert f"`{metric}`" in GUIDE
        assert metric in METRICS
