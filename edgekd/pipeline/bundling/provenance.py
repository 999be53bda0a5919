"""How the files that ship came to be, as an in-toto statement with SLSA's predicate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekd.pipeline.bundling.evidence import Evidence
from edgekd.pipeline.folder import RECIPE

_BUILD_TYPE = {True: "urn:edgekd:run:1", False: "urn:edgekd:bench:1"}
# Whoever ran edgekd: nobody vouches for that machine, so that no SLSA level is claimed.
_BUILDER = "urn:edgekd:wherever-it-ran"


def write_provenance(evidence: Evidence) -> dict[str, Any]:
    """Say what was made of what, by which parameters and tools.

    Source: in-toto Statement v1 (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md) and SLSA
    Provenance v1 (https://slsa.dev/spec/v1.0/provenance).

    Returns:
        The statement, as JSON has it.
    """
    manifest = evidence.manifest
    times = evidence.measured_between
    made = {name: file for name, file in manifest.files.items() if name not in evidence.shipped} if manifest else {}
    byproducts = {name: file.sha256 for name, file in made.items() if file.step and name not in evidence.teachers}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": _resources(evidence.shipped),
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE[manifest is not None],
                "externalParameters": {
                    "recipe": {"name": RECIPE, "digest": {"sha256": manifest.recipe}},
                    "overrides": list(manifest.overrides),
                }
                if manifest
                else {},
                "internalParameters": dict(manifest.environment) if manifest else {},
                "resolvedDependencies": [
                    # No digest of one file: of all files, what they are called and how they are split.
                    *([{"name": evidence.data, "digest": {"edgekdData": manifest.data}}] if manifest else []),
                    *_resources(evidence.teachers),
                    *({"name": name, "uri": purl} for purl, (name, _) in evidence.tools.items()),
                ],
            },
            "runDetails": {
                "builder": {"id": _BUILDER, "version": _versions(evidence)},
                "metadata": {"startedOn": times[0], "finishedOn": times[1]} if times else {},
                "byproducts": _resources(byproducts),
            },
        },
    }


def _versions(evidence: Evidence) -> dict[str, str]:
    version = evidence.manifest.environment.get("edgekd") if evidence.manifest else None
    return {"edgekd": version} if version else {}


def _resources(files: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in sorted(files.items())]
