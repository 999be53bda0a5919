"""Whatever is changed in a bundle is found, also where all hashes were made to fit again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgekd import pipeline, store
from edgekd.errors import EdgekdError, StoreError
from edgekd.pipeline.bundling import layout
from tests.finished import NAME

Files = dict[str, Any]
Forge = Callable[..., Path]


def wrong(path: Path) -> dict[str, str]:
    return {claim.name: claim.detail for claim in pipeline.verify_bundle(path).claims if claim.state == "wrong"}


def edited(content: bytes, change: Callable[[Any], object]) -> bytes:
    found = json.loads(content)
    change(found)
    return store.json_bytes(found)


def test_a_bundle_as_it_was_made_is_right(bundle: Path) -> None:
    found = pipeline.verify_bundle(bundle)
    assert found.is_right
    assert {*found.files.values()} == {"ok"}
    assert [(claim.name, claim.state) for claim in found.claims] == [
        *((name, "ok") for name in ("files", "manifest", "models", "provenance", "materials", "evidence", "verdict")),
        ("signature", "unchecked"),
    ]
    assert found.claims[-1].detail.startswith("not signed")


def test_forging_nothing_gives_the_same_bytes(bundle: Path, held: Files, forge: Forge) -> None:
    assert forge(held).read_bytes() == bundle.read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**9), bit=st.integers(0, 7))
@example(place=0, bit=0)
@example(place=-1, bit=7)
def test_any_byte_that_is_changed_is_found(bundle: Path, tmp_path: Path, place: int, bit: int) -> None:
    content = bytearray(bundle.read_bytes())
    content[place % len(content)] ^= 1 << bit
    (tmp_path / "x.tar").write_bytes(content)
    try:
        assert wrong(tmp_path / "x.tar")
    except EdgekdError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either is a find


def test_every_byte_of_the_list_of_files_counts(held: Files, tmp_path: Path, bundle: Path) -> None:
    content, size = bundle.read_bytes(), len(held["bundle.json"])
    for place in range(0, size, 7):
        changed = bytearray(content)
        changed[512 + place] ^= 1 << place % 8
        (tmp_path / "x.tar").write_bytes(changed)
        try:
            assert wrong(tmp_path / "x.tar"), place
        except EdgekdError:
            continue


def test_a_file_that_was_swapped_is_named(held: Files, bundle: Path, tmp_path: Path) -> None:
    content = bundle.read_bytes()
    model = held[f"export/{NAME}"]
    assert content.count(model) == 1
    (tmp_path / "x.tar").write_bytes(content.replace(model, bytes(len(model))))
    found = pipeline.verify_bundle(tmp_path / "x.tar")
    assert {name: state for name, state in found.files.items() if state != "ok"} == {f"export/{NAME}": "changed"}
    assert found.claims[0].detail == f"export/{NAME} (changed)"
    assert found.release is None


def swap(held: Files) -> None:
    """Another model in the place of the one that was measured."""
    held[f"export/{NAME}"] = b"another model"


def worse(held: Files) -> None:
    """Measurements that would not pass."""

    def change(measurements: Any) -> None:
        next(each for each in measurements if each["metric"] == "accuracy")["samples"] = [0.0] * 200

    held["benchmark/measurements.json"] = edited(held["benchmark/measurements.json"], change)


def looser(held: Files) -> None:
    """A verdict on other budgets than those of the recipe."""
    held["recipe.toml"] = held["recipe.toml"].replace(b"1 kB", b"50 B")


def other_file_measured(held: Files) -> None:
    held["benchmark/measurements.json"] = edited(
        held["benchmark/measurements.json"], lambda found: [each.update(model_sha256="0" * 64) for each in found]
    )


def release(change: Callable[[Any], object]) -> Callable[[Files], None]:
    return lambda held: held.update({"gate/release.json": edited(held["gate/release.json"], change)})


def manifest(change: Callable[[Any], object]) -> Callable[[Files], None]:
    return lambda held: held.update({"manifest.json": edited(held["manifest.json"], change)})


def statement(change: Callable[[Any], object]) -> Callable[[Files], None]:
    return lambda held: held.update({"provenance.json": edited(held["provenance.json"], change)})


def listed(change: Callable[[Any], object]) -> Callable[[Files], None]:
    return lambda held: held.update({"sbom.cdx.json": edited(held["sbom.cdx.json"], change)})


@pytest.mark.parametrize(
    ("change", "claims", "words"),
    [
        (swap, {"models", "provenance", "materials"}, f"{NAME} is another file, the verdict is on a file"),
        (worse, {"evidence", "verdict", "provenance"}, "accuracy of student.fp32.onnx is fail, not pass"),
        (looser, {"verdict", "provenance"}, "file_size of student.fp32.onnx is fail, not pass"),
        (other_file_measured, {"models", "evidence"}, "was measured as another file"),
        (release(lambda found: found["checks"].pop()), {"verdict"}, "there are 2 checks, not 1"),
        (release(lambda found: found["checks"][0].update(observed=1.0)), {"verdict"}, "has other numbers"),
        (release(lambda found: found.update(evidence=["0" * 64])), {"evidence"}, "rests on 1 measurements"),
        (release(lambda found: found.update(model_sha256s=["0" * 64])), {"models"}, "a file that does not ship"),
        (lambda held: held.update({"more.txt": b""}), {"manifest"}, "more.txt (extra)"),
        (lambda held: held.pop("report/report.html"), {"manifest"}, "report/report.html (missing)"),
        (manifest(lambda found: found["overrides"].append("a=1")), {"manifest"}, "overrides.json (changed)"),
        (manifest(lambda found: found["environment"].update(torch="1")), {"manifest"}, "environment.json (changed)"),
        (manifest(lambda found: found.update(data="e" * 64)), {"provenance"}, "npz (changed)"),
        (
            manifest(lambda found: found["files"][f"export/{NAME}"].update(parents=["0" * 64])),
            {"manifest"},
            f"export/{NAME} (orphan)",
        ),
        (statement(lambda found: found["subject"].pop()), {"provenance"}, f"export/{NAME} (missing)"),
        (statement(lambda found: found["subject"].append(found["subject"][0])), {"provenance"}, "(changed)"),
        (statement(lambda found: found.update(subject=[1, None])), {"provenance"}, "(missing)"),
        (statement(lambda found: found.update(predicate=[])), {"provenance"}, "recipe.toml (changed)"),
        (statement(lambda found: found["predicate"].pop("runDetails")), {"provenance"}, "and 4 more"),
        (listed(lambda found: found["components"].pop(1)), {"materials"}, f"export/{NAME} (missing)"),
        (listed(lambda found: found["components"][0].update(hashes=[])), {"materials"}, "(changed)"),
        (listed(lambda found: found.update(components={"a": 1})), {"materials"}, "(missing)"),
    ],
)
def test_hashes_that_fit_do_not_hide_a_lie(
    held: Files, forge: Forge, change: Callable[[Files], None], claims: set[str], words: str
) -> None:
    change(held)
    found = wrong(forge(held))
    assert claims <= found.keys()
    assert words in " ".join(found.values())


def test_a_manifest_that_was_edited_alone_is_found(held: Files, forge: Forge) -> None:
    held["manifest.json"] = edited(
        held["manifest.json"], lambda found: found["files"][f"export/{NAME}"].update(sha256="0" * 64)
    )
    assert wrong(forge(held, manifest=False))["manifest"] == f"export/{NAME} (changed)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: held.pop("recipe.toml"), "no recipe.toml"),
        (lambda held: held.update({"recipe.toml": b"\xff"}), "not a text file"),
        (lambda held: held.update({"recipe.toml": b"name ="}), "not valid TOML"),
        (lambda held: held.update({"benchmark/measurements.json": b"[1]"}), "record 0: not what edgekd wrote: "),
        (lambda held: held.update({"benchmark/measurements.json": b"[" * 10**5}), "not what edgekd wrote: file: "),
        (lambda held: held.update({"provenance.json": b"[]"}), "not what edgekd wrote"),
        (manifest(lambda found: found.update(edgekd_manifest=3)), "a manifest of format 3; allowed: 2"),
    ],
)
def test_what_is_not_what_edgekd_writes_is_one_line(
    held: Files, forge: Forge, change: Callable[[Files], object], words: str
) -> None:
    change(held)
    with pytest.raises(EdgekdError) as refused:
        pipeline.verify_bundle(forge(held, manifest=words.startswith("not what")))
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_another_format_names_the_edgekd_to_take(bundle: Path, tmp_path: Path) -> None:
    content = bundle.read_bytes()
    (tmp_path / "x.tar").write_bytes(content.replace(b'"edgekd_bundle": 1', b'"edgekd_bundle": 2'))
    with pytest.raises(StoreError, match="a bundle of format 2; allowed: 1; verify it with the edgekd that made it"):
        pipeline.verify_bundle(tmp_path / "x.tar")


@pytest.mark.parametrize(("name", "size"), [("report/report.json", 2**30), ("export/student.fp32.onnx", 2**33 - 1)])
def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, name: str, size: int) -> None:
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.size = size
    path = tmp_path / "x.tar"
    with path.open("wb") as file:
        file.write(entry.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(10_000)
    with pytest.raises(StoreError) as refused:
        pipeline.verify_bundle(path)
    words = "allowed: 134,217,728 for such a file" if size == 2**30 else "ends too early"
    assert words in str(refused.value)


def test_a_list_that_is_too_large_is_not_read(held: Files, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_LIST_BYTES", 2000)
    with pytest.raises(StoreError, match=r"allowed: 2,000 for a file that is read whole"):
        pipeline.verify_bundle(forge(held))
