"""The subcommand that puts around model files what an app or a firmware needs."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from edgekd.cli.group import command, json_option, out_option, set_option
from edgekd.cli.stages import refuse_options, run_until
from edgekd.errors import ConfigError, DataError
from edgekd.records import Content, Head, PackageSpec, Task

if TYPE_CHECKING:
    from edgekd.pipeline import FileFacts

_OF_FILES = (
    *("labels", "packagers", "options", "targets", "samples", "array", "task", "head", "content"),
    *("scale", "mean", "std", "raw_range", "title", "description", "model_version", "author", "licence", "limits"),
)


@command("""
    edgekd package digits
    edgekd package my-recipe.toml --set 'package.licence="MIT"'
    edgekd package model.tflite --labels labels.txt --content image --scale 0.00392157 --licence Apache-2.0
    edgekd package model.tflite --target cortex-m4 --samples samples.npz --out firmware/model
    edgekd package model.tflite --packager c_source --option c_source.symbol=keywords
""")
@click.argument("source", metavar="RECIPE | MODEL")
@click.option("--labels", help="Of a model file: labels.txt with one a line, or a,b,c; in the order of the outputs.")
@click.option("--packager", "packagers", multiple=True, help="May be given often [default: those that suit].")
@click.option("--option", "options", multiple=True, metavar="NAME.KEY=VALUE", help="Of a packager that is named.")
@click.option(
    "--target", "targets", multiple=True, help="Where it runs: a name, or several with commas [default: host]."
)
@click.option("--samples", type=click.Path(path_type=Path), help=".npz or .npy of samples, for test vectors.")
@click.option("--array", help="Name of the array in the .npz [default: its only one, or x, or x_train].")
@click.option("--task", type=click.Choice(get_args(Task)), default="single_label", show_default=True)
@click.option("--head", type=click.Choice(get_args(Head)), default="logits", show_default=True, help="What it gives.")
@click.option("--content", type=click.Choice(get_args(Content)), help="What it takes [default: features].")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Raw x go in as (x * scale - mean) / std.")
@click.option("--mean", help="One number, or one a channel: 0.485,0.456,0.406")
@click.option("--std", help="The same.")
@click.option("--raw-range", help="Smallest and largest raw value: 0,255")
@click.option("--title", help="What people call it [default: the file's name].")
@click.option("--description", help="What it does, in a sentence.")
@click.option("--model-version", help="Version of the model.")
@click.option("--author", help="Who made it.")
@click.option("--licence", help="SPDX expression, such as Apache-2.0.")
@click.option("--limits", help="What it should not be used for.")
@out_option
@set_option
@json_option
def package(source: str, out: Path | None, overrides: tuple[str, ...], *, as_json: bool, **given: Any) -> int:
    """Package a recipe's files, making them first where that is not done; or a model file of your own, into ./packaged.

    Metadata, C sources, snippets and a model card: what suits the file and its targets, unless packagers are named.
    """
    if not source.endswith((".onnx", ".tflite")):
        refuse_options("for model files; for a recipe: --set 'package.licence=\"MIT\"'", *_OF_FILES)
        return run_until("package", source, out, overrides, as_json=as_json)
    refuse_options("for recipes only", "overrides")
    from edgekd.config import load_targets
    from edgekd.console import Terminal, plain_table
    from edgekd.datasets import read_samples
    from edgekd.pipeline import package_file

    terminal = Terminal(as_json=as_json)
    terminal.show_log()
    folder = out or Path("packaged")
    made = package_file(
        Path(source),
        folder=folder,
        spec=_spec(given),
        facts=_facts(given),
        targets=load_targets(given["targets"] or ("host",)),
        samples=read_samples(given["samples"], given["array"]) if given["samples"] else None,
    )
    terminal.print(plain_table(("packager", "file"), [(each.packager, str(folder / each.path)) for each in made.files]))
    terminal.result(made)
    return 0


def _spec(given: dict[str, Any]) -> PackageSpec:
    from edgekd.config import build

    words = ("title", "description", "author", "licence", "limits", "content")
    table = {key: given[key] for key in words if given[key] is not None}
    if given["model_version"] is not None:
        table["version"] = given["model_version"]
    options = _options(given["options"], given["packagers"])
    if given["packagers"]:
        table["packagers"] = [{"name": name, **options.get(name, {})} for name in given["packagers"]]
    return build(PackageSpec, table, where="edgekd package", folder=Path())


def _options(texts: Sequence[str], packagers: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        name, dot, key = place.strip().partition(".")
        if not (equals and dot and key) or key == "name" or name not in packagers:
            raise ConfigError(
                f"'{text}'",
                where="--option",
                allowed="NAME.KEY=VALUE of a packager that --packager names",
                next_step=f"add --packager {name}" if dot and equals else None,
            )
        try:
            parsed = tomllib.loads(f"value = {value}")
        except ValueError:
            parsed = {}
        # A bare word is text.
        found.setdefault(name, {})[key] = parsed["value"] if parsed.keys() == {"value"} else value
    return found


def _facts(given: dict[str, Any]) -> FileFacts:
    from edgekd.pipeline import FileFacts

    ends = _numbers(given["raw_range"], "--raw-range")
    if len(ends) not in (0, 2):
        raise ConfigError(f"'{given['raw_range']}'", where="--raw-range", allowed="two numbers, such as 0,255")
    return FileFacts(
        labels=_labels(given["labels"]),
        task=given["task"],
        head=given["head"],
        scale=given["scale"],
        mean=_numbers(given["mean"], "--mean"),
        std=_numbers(given["std"], "--std"),
        raw_range=(ends[0], ends[1]) if ends else None,
    )


def _labels(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    path = Path(text)
    if "," in text and not path.is_file():
        return tuple(each.strip() for each in text.split(","))
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't read labels: {error}", where=text, allowed="a text file, or a,b,c") from None


def _numbers(text: str | None, where: str) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise ConfigError(f"'{text}'", where=where, allowed="numbers with commas between them") from None
