"""Holds a bundle against itself: every byte, and everything that one of its files says of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import signing, store
from edgekd.errors import StoreError
from edgekd.parsing import parse_json
from edgekd.pipeline.bundling.archive import Member, read_archive
from edgekd.pipeline.bundling.claims import claim
from edgekd.pipeline.bundling.evidence import BENCH_FILES, Evidence, is_bundled, read_evidence
from edgekd.pipeline.bundling.judging import judge_again
from edgekd.pipeline.bundling.layout import DOCUMENTS, FORMAT, INDEX, MATERIALS, PROVENANCE, limit_of, read_limit_of
from edgekd.pipeline.bundling.materials import write_materials
from edgekd.pipeline.bundling.provenance import write_provenance
from edgekd.pipeline.folder import ENVIRONMENT, MANIFEST, OVERRIDES, RECIPE
from edgekd.records import BundleIndex, Claim, Release


@dataclass(frozen=True, kw_only=True)
class VerifiedBundle:
    """What was found in a bundle.

    Attributes:
        files: What is not the bytes that the bundle lists: `changed`, `missing` or `extra`; of others `ok`.
        release: The verdict; none of a benchmark of bare files, or where files are wrong.
    """

    files: Mapping[str, str]
    claims: tuple[Claim, ...]
    release: Release | None

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return all(each.state != "wrong" for each in self.claims)


def verify_bundle(path: Path, *, key: Path | None = None) -> VerifiedBundle:
    """Check a bundle offline; nothing of it is extracted.

    Args:
        path: The bundle; its signature lies beside it.
        key: Public key, or ssh's file of allowed signers.

    Raises:
        StoreError: It is no bundle, of another format, or damaged or made up outside of its files.
        ConfigError: Its recipe is none.
        MissingExtraError: The tool of the signature is not installed.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise StoreError(f"can't read it: {error.strerror}", where=str(path)) from None
    with file:
        members = read_archive(file, str(path), limit_of)

        def read(name: str) -> bytes:
            if members[name].size_bytes > read_limit_of(name):
                raise StoreError(
                    f"'{name}' has {members[name].size_bytes:,} bytes",
                    where=str(path),
                    allowed=f"{read_limit_of(name):,} for a file that is read whole",
                )
            file.seek(members[name].offset)
            return file.read(members[name].size_bytes)

        index = _read_index(members, read, str(path))
        states = _states(index, members)
        wrong = [f"{name} ({state})" for name, state in states.items() if state != "ok"]
        claims = [claim("files", wrong, f"{len(states)} files are the bytes that {INDEX} lists")]
        release = None
        if not wrong:
            evidence = read_evidence(members.keys(), read, str(path))
            claims += _claims(evidence, index, read, str(path))
            release = evidence.release
    return VerifiedBundle(files=states, claims=(*claims, _check_signature(path, key)), release=release)


def signature_of(path: Path) -> Path:
    """Where the signature of a file lies."""
    return path.with_name(f"{path.name}.sig")


def _read_index(members: Mapping[str, Member], read: Callable[[str], bytes], where: str) -> BundleIndex:
    if next(iter(members), None) != INDEX:
        raise StoreError(f"no bundle: it does not begin with {INDEX}", where=where)
    content = read(INDEX)
    known = parse_json(content, dict[str, Any], f"{where}: {INDEX}").get("edgekd_bundle")
    if known != FORMAT:
        raise StoreError(
            f"a bundle of format {known}",
            where=where,
            allowed=str(FORMAT),
            next_step="verify it with the edgekd that made it",
        )
    index = parse_json(content, BundleIndex, f"{where}: {INDEX}")
    # Spaces and keys that nobody looks at would be a place to change things.
    if store.json_bytes(index) != content or list(members)[1:] != sorted(list(members)[1:]):
        raise StoreError(
            f"not as edgekd writes bundles: {INDEX} was edited, or files lie in another order", where=where
        )
    return index


def _states(index: BundleIndex, members: Mapping[str, Member]) -> dict[str, str]:
    states = {}
    for name, listed in index.files.items():
        member = members.get(name)
        if member is None:
            states[name] = "missing"
        else:
            same = (member.sha256, member.size_bytes) == (listed.sha256, listed.size_bytes)
            states[name] = "ok" if same else "changed"
    return states | {name: "extra" for name in members if name not in index.files and name != INDEX}


def _claims(evidence: Evidence, index: BundleIndex, read: Callable[[str], bytes], where: str) -> Iterator[Claim]:
    if evidence.manifest is None:
        stray = [
            f"{name} is none of a benchmark's files" for name in index.files if name not in (*BENCH_FILES, *DOCUMENTS)
        ]
        yield claim("run", stray, "a benchmark of bare files, without a manifest and a verdict")
    else:
        yield claim("manifest", list(_of_manifest(evidence, index, read, where)), "lists the same files")
        yield claim("models", list(_of_models(evidence)), "the files that ship are those that were measured")
    yield claim("provenance", list(_of_provenance(evidence, read, where)), "in-toto statement of the same files")
    yield claim("materials", list(_of_materials(evidence, read, where)), "CycloneDX list of the same files")
    if evidence.release:
        yield from judge_again(evidence, evidence.release, read)


def _of_manifest(evidence: Evidence, index: BundleIndex, read: Callable[[str], bytes], where: str) -> Iterator[str]:
    manifest = evidence.manifest
    assert manifest is not None  # noqa: S101 - of runs alone
    wanted = {name: file for name, file in manifest.files.items() if is_bundled(name, file.step)}
    for name, file in wanted.items():
        listed = index.files.get(name)
        if listed is None:
            yield f"{name} (missing)"
        elif (listed.sha256, listed.size_bytes) != (file.sha256, file.size_bytes):
            yield f"{name} (changed)"
    yield from (f"{name} (extra)" for name in index.files if name not in {*wanted, *DOCUMENTS, MANIFEST})
    known = {file.sha256 for file in manifest.files.values()} | {*manifest.teachers.values()}
    yield from (f"{name} (orphan)" for name, file in manifest.files.items() if not {*file.parents} <= known)
    if manifest.recipe != index.files[RECIPE].sha256:
        yield f"{RECIPE} (changed)"
    for name, kind, said in (
        (OVERRIDES, list[str], [*manifest.overrides]),
        (ENVIRONMENT, dict[str, str], dict(manifest.environment)),
    ):
        if name not in index.files or parse_json(read(name), kind, f"{where}: {name}") != said:
            yield f"{name} (changed)"


def _of_models(evidence: Evidence) -> Iterator[str]:
    shipped = evidence.shipped
    for model in evidence.models:
        if shipped.get(model.path.as_posix()) != model.sha256:
            yield f"{model.name} is another file"
    by_name = {model.name: model.sha256 for model in evidence.models}
    strange = {
        each.model for each in evidence.measurements if by_name.get(each.model, each.model_sha256) != each.model_sha256
    }
    yield from (f"{name} was measured as another file" for name in sorted(strange))
    if evidence.release and not {*evidence.release.model_sha256s} <= {*shipped.values()}:
        yield "the verdict is on a file that does not ship"


def _of_provenance(evidence: Evidence, read: Callable[[str], bytes], where: str) -> Iterator[str]:
    said = parse_json(read(PROVENANCE), dict[str, Any], f"{where}: {PROVENANCE}")
    true = write_provenance(evidence)
    predicate = ("predicate", "buildDefinition")
    recipe = (*predicate, "externalParameters", "recipe")
    if _part(said, *recipe) != _part(true, *recipe):
        yield f"{RECIPE} (changed)"
    for part in (("subject",), (*predicate, "resolvedDependencies"), ("predicate", "runDetails", "byproducts")):
        yield from _differences(*(_by_name(_part(each, *part), "name", "digest") for each in (said, true)))


def _of_materials(evidence: Evidence, read: Callable[[str], bytes], where: str) -> Iterator[str]:
    said = parse_json(read(MATERIALS), dict[str, Any], f"{where}: {MATERIALS}")
    both = (said, write_materials(evidence))
    yield from _differences(*(_by_name(_part(each, "components"), "bom-ref", "hashes") for each in both))


def _part(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _by_name(items: object, name: str, value: str) -> dict[str, object]:
    """What each of some objects holds, of those that hold it; nothing true of names that are there twice."""
    found: dict[str, object] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and value in item:
            key = str(item.get(name))
            found[key] = None if key in found else item[value]
    return found


def _differences(said: Mapping[str, object], true: Mapping[str, object]) -> list[str]:
    return [
        f"{name} ({'missing' if name not in said else 'extra' if name not in true else 'changed'})"
        for name in sorted({*said, *true})
        if said.get(name) != true.get(name)
    ]


def _check_signature(path: Path, key: Path | None) -> Claim:
    signature = signature_of(path)
    if signature.is_file():
        if key is None:
            return Claim(name="signature", state="unchecked", detail="signed, not checked: give --key")
        holds, detail = signing.check_signature(path, signature, key)
        return Claim(name="signature", state="ok" if holds else "wrong", detail=detail)
    if key:
        return Claim(name="signature", state="wrong", detail=f"not signed: no {signature.name} beside it")
    return Claim(
        name="signature", state="unchecked", detail="not signed: it agrees with itself, and nobody answers for it"
    )
