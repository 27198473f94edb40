"""Twins whose GPUs are pretended: roles do what they do on the real host, and nothing is claimed that was not seen."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.facts import Facts, parse, script
from tests.lab.machine import client
from tests.lab.mirror import mirror
from tests.lab.prepare import Lab
from tests.lab.toolkit import toolkit
from tests.lab.twins import Fleet, fleet_of


@pytest.fixture
def fleet(lab: Lab, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A server whose GPU works and one whose driver was upgraded without a reboot; NVIDIA's toolkit from a mirror."""
    packages = toolkit(tmp_path_factory.mktemp("t"))
    with mirror() as served:
        served.files |= packages.files
        nvidia = packages.settings(served.url)
        hosts = {
            "gpu01": {"twin": {"gpu": "nvidia-rtx-4090"}},
            "gpu02": {"twin": {"gpu": "nvidia-mismatch"}},
        }
        inventory = {"all": {"vars": {"provision_roles": ["base", "nvidia"], "nvidia": nvidia}, "hosts": hosts}}
        with fleet_of(inventory, tmp_path) as made:
            yield made


def facts(fleet: Fleet, host: str) -> Facts:
    """What the host's twin says it is."""
    _, out = client().containers.get(fleet.containers()[host]).exec_run(["sh", "-c", script(readings=True)])
    assert isinstance(out, bytes)
    return parse(out)


def test_a_host_with_a_gpu_is_tested_and_one_with_a_broken_driver_gets_nothing_that_needs_it(fleet: Fleet) -> None:
    said = fleet.check("twin", "test", "--keep", "--proof", "proof.json")
    proof = json.loads((fleet.folder / "proof.json").read_text())
    made = {"create repository:nvidia-container-toolkit", "generate cdi:nvidia"}
    assert made <= set(proof["first_run"]["gpu01"])
    assert any("nvidia-container-toolkit" in change for change in proof["first_run"]["gpu01"] if "package" in change)
    assert not [change for change in proof["first_run"]["gpu02"] if "nvidia" in change]
    assert proof["passed"], said
    assert proof["replaced"] == {"gpu01": {"gpu": "nvidia-rtx-4090"}, "gpu02": {"gpu": "nvidia-mismatch"}}
    # Nobody computed on a GPU: that is said, and counts as nothing that was found good.
    told = {one["host"]: (one["status"], one["message"]) for one in proof["checks"] if one["check"] == "gpu"}
    assert told == {
        "gpu01": ("skipped", "not proved here: the GPU is a stand-in, models and containers ran without one")
    }
    assert f"gpu01: gpu: skipped: {told['gpu01'][1]}" in said

    healthy, broken = facts(fleet, "gpu01"), facts(fleet, "gpu02")
    assert [(gpu.name, gpu.driver) for gpu in healthy.identity.gpus] == [("NVIDIA GeForce RTX 4090", "nvidia")]
    assert (healthy.identity.nvidia_usable, broken.identity.nvidia_usable) == (True, False)
    assert [note for note in broken.notes if "reboot the host" in note]
    assert "RTX 4090" in fleet.check("twin", "ssh", "gpu01", "--", "nvidia-smi", "-L")

    # Another profile is another host; the one that stays as it was is kept.
    before = fleet.containers()
    fleet.path.write_text(fleet.path.read_text().replace("nvidia-mismatch", "nvidia-nouveau"))
    assert fleet.check("twin", "up").count("started from") == 1
    assert fleet.containers()["gpu01"] == before["gpu01"]
    assert [gpu.driver for gpu in facts(fleet, "gpu02").identity.gpus] == ["nouveau"]


def test_a_profile_that_is_none_has_its_place_and_the_nearest_name(fleet: Fleet) -> None:
    fleet.path.write_text(fleet.path.read_text().replace("nvidia-mismatch", "nvidia-nuveau"))
    wrong = fleet.run("twin", "up")
    line = next(n for n, text in enumerate(fleet.path.read_text().splitlines(), 1) if "nuveau" in text)
    assert wrong.rc == 3
    assert wrong.err.startswith(f"{fleet.path}:{line}:") or f"office.yml:{line}:" in wrong.err
    assert "there is no GPU profile 'nvidia-nuveau'; did you mean 'nvidia-nouveau'?" in wrong.err
    assert len(wrong.err.splitlines()) == 1
    assert fleet.containers() == {}
