"""`make test-matrix IMAGES=ubuntu:24.04,rockylinux/rockylinux:9`: the roles on twins of real images, one a test.

As tests/lab/test_families.py does on its stand-ins: everything is applied, nothing is left to do, all checks pass, a
second run changes nothing. Packages and Docker come from the distribution's and Docker's own repositories; Ollama and a
small model from their official places, or with ARTIFACTS=lab from the lab that `make prepare` made.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.lab.prepare import prepared
from tests.lab.twins import fleet_of

IMAGES = [name.strip() for name in os.environ.get("IMAGES", "").split(",") if name.strip()]


def inventory(image: str, artifacts: Path | None) -> dict[str, Any]:
    """One server of that image."""
    server: dict[str, Any] = {
        "provision_roles": ["base", "docker", "ollama", "models"],
        "base": {"packages": ["jq"]},
        "ollama": {"listen": "lan", "allow_networks": ["10.0.0.0/8"]},
        "models": {"smollm2:135m": {}},
        "twin": {"image": image},
    }
    if artifacts:
        server["ollama"] |= {"version": "0.9.3", "allow_vulnerable": True}
        server["models"] = {"tiny": {"gguf": str(artifacts / "tiny.gguf")}}
    return {"all": {"hosts": {"server": server}}}


@pytest.mark.parametrize("image", IMAGES)
def test_apply_then_nothing_to_do_then_verified(tmp_path: Path, image: str) -> None:
    artifacts = prepared().artifacts if os.environ.get("ARTIFACTS") == "lab" else None
    words = ("--artifacts", str(artifacts)) if artifacts else ()
    with fleet_of(inventory(image, artifacts), tmp_path) as fleet:
        ended = fleet.run("twin", "test", "--proof", "proof.json", *words)
    if ended.rc == 3:
        # It cannot be had or built: one line says why.
        pytest.fail(ended.err.strip(), pytrace=False)
    assert ended.rc == 0, ended.out + ended.err
    proof = json.loads((fleet.folder / "proof.json").read_text())
    assert proof["first_run"]["server"]
    assert not proof["left_after_first_run"]["server"]
    assert not proof["second_run"]["server"]
    checks = {one["check"]: one["status"] for one in proof["checks"]}
    assert checks["packages"] == checks["docker daemon"] == "passed"
    assert [status for name, status in checks.items() if name.startswith("generation")] == ["passed"]
