"""The recipes of the guide on texts are recipes, and its Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import edgekd
from edgekd.config import load_recipe
from edgekd.networks import text_cnn

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "text.md").read_text(encoding="utf-8")
TABLES = re.findall(r"^```toml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
REST = """
[[teachers]]
model = "bert"
layers = 6
[teachers.train]
epochs = 1
[student]
model = "bert"
layers = 3
"""


def test_its_tables_make_one_recipe(tmp_path: Path) -> None:
    assert len(TABLES) == 3
    recipe = tmp_path / "own.toml"
    recipe.write_text('name = "own"\n' + "".join(TABLES) + REST)
    loaded = load_recipe(str(recipe)).recipe
    assert loaded.data.options["text"] == ["title", "body"]
    assert [term.name for term in loaded.distill.losses] == ["cosine", "minilm", "minilm"]
    assert loaded.distill.init is not None
    assert loaded.transfer is not None


@pytest.mark.parametrize("name", ["sst2-distilbert", "agnews-micro"])
def test_recipes_that_it_names_are_there(name: str) -> None:
    assert f"edgekd init {name}" in GUIDE
    assert load_recipe(name).recipe.name == name


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.csv").write_text("text,label\n" + "a good film,1\na bad film,0\n" * 20)
    lines = re.findall(r"^    (.*)$", GUIDE.partition("## From Python")[2], re.MULTILINE)
    assert len(lines) == 2
    names: dict[str, object] = {"edgekd": edgekd}
    exec(lines[0], names)  # noqa: S102 - what the guide tells people to type
    data = names["data"]
    assert isinstance(data, edgekd.Dataset)
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        networks.append(text_cnn.build(classes=2, input_shape=data.input_shape, tokens=data.tokens))
    # Convolutions are no stack of equal layers: what is begun with is for transformers.
    names |= {"network": networks[0], "teacher": edgekd.distill(student=networks[1], data=data, epochs=3).network}
    exec(lines[1].replace("init=edgekd.InitSpec(), ", ""), names)  # noqa: S102 - as above
    assert "student" in names
