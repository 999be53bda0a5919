"""Vela against the figures that MLPerf Tiny's ResNet-8 is known to have."""

import json
from pathlib import Path

import pytest

from edgekd.errors import ExportError, MissingExtraError
from edgekd.inspection import inspect
from edgekd.packagers import vela
from edgekd.records import Cargo


@pytest.fixture(autouse=True, scope="module")
def _installed() -> None:
    pytest.importorskip("ethosu")


def test_summary_has_the_known_figures_and_the_configuration_they_hold_for(int8_resnet: Cargo, tmp_path: Path) -> None:
    path, summary = vela.pack(cargo=int8_resnet, folder=tmp_path)
    found = json.loads(summary.read_text())
    assert found["inference_s"] == pytest.approx(0.403e-3, abs=0.5e-6)
    assert found["sram_bytes"] == pytest.approx(50.6 * 1024, abs=0.05 * 1024)
    configuration = (found["accelerator"], found["system_config"], found["memory_mode"])
    assert configuration == ("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram")
    assert found["basis"] == "estimated"
    assert found["cpu_operators"] == 0
    # One operator of the accelerator took the place of sixteen.
    assert inspect(path).operators == (("ethos-u", 1),)


def test_another_configuration_gives_other_figures_and_says_so(int8_resnet: Cargo, tmp_path: Path) -> None:
    _, summary = vela.pack(
        cargo=int8_resnet, folder=tmp_path, accelerator="ethos-u55-32", system_config="Ethos_U55_Deep_Embedded"
    )
    found = json.loads(summary.read_text())
    assert (found["accelerator"], found["system_config"]) == ("ethos-u55-32", "Ethos_U55_Deep_Embedded")
    assert found["inference_s"] > 1e-3


def test_float_file_is_refused(float_resnet: Cargo, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="runs no fp32"):
        vela.pack(cargo=float_resnet, folder=tmp_path)


def test_float_file_that_calls_itself_int8_is_refused(float_resnet: Cargo, make_cargo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    cargo = make_cargo(float_resnet.model.path, "static_wi8_ai8")
    with pytest.raises(ExportError, match="nothing of it runs on the accelerator"):
        vela.pack(cargo=cargo, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"accelerator": "ethos-u55-999"}, "ethos-u55-128"), ({"system_config": "Nowhere"}, "Nowhere not found")],
)
def test_wrong_option_is_an_error_with_vela_s_own_words(
    options: dict[str, str], words: str, int8_resnet: Cargo, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        vela.pack(cargo=int8_resnet, folder=tmp_path, **options)  # type: ignore[arg-type]  # both are text
    assert "\n" not in str(caught.value)


def test_missing_tool_is_named_with_its_extra(
    int8_resnet: Cargo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)  # noqa: ARG005
    with pytest.raises(MissingExtraError, match=r"ethosu; pip install 'edgekd\[npu\]'"):
        vela.pack(cargo=int8_resnet, folder=tmp_path)
