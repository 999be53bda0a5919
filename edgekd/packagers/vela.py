"""TFLite compiled for an Arm Ethos-U accelerator by Vela, with its estimates and the configuration they hold for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgekd import store
from edgekd.errors import ConfigError, ExportError, ModelError
from edgekd.packagers._checks import check_format
from edgekd.records import Cargo, decode_precision
from edgekd.registry import require_all
from edgekd.vela import compile_file

FORMATS = ("tflite",)
PRECISIONS = ("static_wi8_ai8", "static_wi8_ai16")
SUITS = "accelerator"
NEEDS = ("ethosu",)


def pack(
    *,
    cargo: Cargo,
    folder: Path,
    accelerator: str = "ethos-u55-128",
    system_config: str | None = None,
    memory_mode: str | None = None,
    config: Path | None = None,
    optimise: Literal["performance", "size"] = "performance",
) -> tuple[Path, ...]:
    """Write `{name}_vela.tflite`, and `{name}_vela.json` with Vela's estimates and its whole configuration.

    One flag changes the estimates threefold, so the file and its figures are told by configuration; the fast one that
    Vela takes where none is given is named, too.

    Args:
        cargo: Of a TFLite file with integer activations.
        folder: Made when missing.
        accelerator: As Vela calls it: `ethos-u55-32` to `ethos-u85-2048`.
        system_config: A section of `config`, or one of Vela's own; `None` takes Vela's default.
        memory_mode: The same.
        config: Vela's `.ini` of the chip.
        optimise: For speed, or for the smallest memory.

    Returns:
        The compiled file, and the summary.

    Raises:
        MissingExtraError: Vela is not installed.
        ExportError: A float file; Vela refused it; or nothing of it runs on the accelerator.
    """
    check_format(cargo, "vela", FORMATS)
    if not decode_precision(cargo.model.precision).activations.startswith("int"):
        raise ExportError(
            f"an accelerator runs no {cargo.model.precision}",
            where=cargo.model.name,
            allowed=", ".join(PRECISIONS),
        )
    require_all(NEEDS)
    try:
        compiled, summary = compile_file(
            cargo.model.path,
            accelerator=accelerator,
            system_config=system_config,
            memory_mode=memory_mode,
            config=config,
            optimise=optimise,
        )
    except (ConfigError, ModelError) as error:
        raise ExportError(error.what, where=cargo.model.name, next_step="change the options or the file") from None
    if summary.npu_operators == 0:
        raise ExportError(
            "nothing of it runs on the accelerator",
            where=cargo.model.name,
            next_step="see what `vela` says of each operator",
        )
    paths = (folder / f"{cargo.stem}_vela.tflite", folder / f"{cargo.stem}_vela.json")
    store.write_bytes(paths[0], compiled)
    store.write_json(paths[1], summary)
    return paths
