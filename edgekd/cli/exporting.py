"""The subcommand that makes model files, of a recipe or of a model of the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekd.cli.group import command, json_option, out_option, set_option
from edgekd.cli.stages import kernels_table, refuse_options, run_until

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.records import IoType, Task
    from edgekd.stages.export import Exported
    from edgekd.stages.export.given import FileFormat


@command("""
    edgekd export digits
    edgekd export my-recipe.toml --set 'export.precisions=["fp16"]'
    edgekd export model.tflite --precision static_wi8_ai8 --calibration samples.npz
    edgekd export model.onnx --precision fp16 --precision weight_only_wi8_afp32 --calibration samples.npz
    edgekd export model.keras --precision static_wi8_ai8 --calibration samples.npz --format tflite
    edgekd export saved_model/ --precision static_wi8_ai8 --calibration samples.npz
    edgekd export my-llama/ --task next_token --precision weight_only_wi4_afp32 --format onnx --calibration tokens.npy
    edgekd export google/mobilenet_v2_1.0_224 --precision static_wi8_ai8 --calibration samples.npz
""")
@click.argument("source", metavar="RECIPE | MODEL")
@click.option("--precision", "precisions", multiple=True, help="Of a model file; may be given often.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["onnx", "tflite"]),
    help="May be given often [default: of .onnx and .tflite files their own, else both].",
)
@click.option("--calibration", type=click.Path(path_type=Path), help=".npz or .npy of samples as the model takes them.")
@click.option("--array", help="Name of the array in the .npz [default: its only one, or x, or x_train].")
@click.option(
    "--samples", type=click.IntRange(1), default=256, show_default=True, help="For calibration; others check."
)
@click.option("--method", default="minmax", show_default=True, help="Calibrator: how ranges are chosen.")
@click.option("--io", type=click.Choice(["int8", "int16", "uint8", "float32"]), help="Input and output [default: own].")
@click.option(
    "--task",
    type=click.Choice(["single_label", "multi_label", "regression", "reconstruction", "next_token"]),
    help="What the model predicts [default: what transformers says, else single_label].",
)
@out_option
@set_option
@json_option
def export(
    source: str,
    precisions: tuple[str, ...],
    formats: tuple[FileFormat, ...],
    calibration: Path | None,
    array: str | None,
    samples: int,
    method: str,
    io: IoType | None,
    task: Task | None,
    out: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> int:
    """Make a recipe's ONNX and TFLite files, training first where that is not done; or those of a model of your own.

    MODEL is a float32 .onnx or .tflite file, a .keras or .h5 file, a SavedModel folder, or an image, audio or text
    classifier of transformers, or with --task next_token a causal language model: its folder, or its name on the hub.
    It is written in the given precisions, and each file is held against it on samples that did not calibrate.
    """
    from edgekd.stages.export import channels_first, export_given, kind_of

    of_models = ("precisions", "formats", "calibration", "array", "samples", "method", "io", "task")
    if kind_of(source) == "recipe":
        refuse_options("for models; for a recipe: --set 'export.precisions=[\"fp16\"]'", *of_models)
        return run_until("kernels", source, out, overrides, as_json=as_json)
    refuse_options("for recipes only", "overrides")
    from edgekd.console import Terminal
    from edgekd.datasets import read_samples
    from edgekd.pipeline.kernels import KERNEL_SAMPLES, compare_on_arm64
    from edgekd.records import ExportSpec, QuantSpec

    if not precisions or calibration is None:
        raise click.UsageError("a model needs --precision and --calibration")
    terminal = Terminal(as_json=as_json)
    terminal.show_log()
    given = read_samples(calibration, array)
    with terminal.progress() as progress:
        exported = export_given(
            source,
            samples=given,
            folder=out or Path("exported"),
            spec=ExportSpec(precisions=precisions, calibration=QuantSpec(method=method, samples=samples), io=io),
            formats=formats,
            task=task,
            progress=progress,
        )
        found = compare_on_arm64(
            exported.models,
            exported.measurements,
            inputs=channels_first(source, given[-KERNEL_SAMPLES:]),
            task=task or "single_label",
            progress=progress,
        )
    exported = replace(exported, measurements=(*exported.measurements, *found))
    terminal.print(exported_table(exported))
    if table := kernels_table(found):
        terminal.print("", table)
    terminal.result(exported)
    return 0


def exported_table(exported: Exported) -> Table:
    """Files, how each agrees with the one it was made from, and its noisiest layer."""
    from rich.markup import escape
    from rich.table import Table

    from edgekd.units import human

    table = Table(
        box=None,
        pad_edge=False,
        caption="agreement, error: against the file they were made from",
        caption_justify="left",
    )
    table.add_column("file", overflow="fold")
    for column in ("size", "agreement", "largest error"):
        table.add_column(column, justify="right")
    table.add_column("noisiest layer")
    for model in exported.models:
        values = {each.metric: each.samples for each in exported.measurements if each.model == model.name}
        noisiest = min(exported.layers.get(model.name, ()), key=lambda layer: layer.sqnr_db, default=None)
        agreement = sum(values["parity"]) / len(values["parity"])
        table.add_row(
            escape(model.name),
            human(model.size_bytes, "B"),
            f"{100 * agreement:.1f} %",
            f"{values['max_error'][0]:.3g}",
            escape(f"{noisiest.layer} ({noisiest.operator}): {noisiest.sqnr_db:.0f} dB") if noisiest else "",
        )
    return table
