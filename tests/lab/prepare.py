"""Prepare the lab on a machine where nothing is installed: `python -m tests.lab prepare`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab import images, machine
from tests.lab.cache import LabError, root


@dataclass(frozen=True)
class Lab:
    """What a prepared lab offers.

    Attributes:
        key: the private key of the hosts' users root and admin.
        artifacts: the directory of files for hosts without internet.
    """

    key: Path
    artifacts: Path


def prepare() -> Lab:
    """Make all that is missing; a second call takes a second or two.

    Raises:
        LabError: a stage failed; one clear text.
    """
    machine.install_packages()
    machine.start_engine()
    _together(*((lambda suite=suite: images.host_image(suite)) for suite in reversed(images.SUITES)))
    return Lab(images.key(), root() / "artifacts")


def _together(*stages: Callable[[], object]) -> None:
    """Run stages at once; the first error is raised when all have ended."""
    with ThreadPoolExecutor(max_workers=len(stages)) as pool:
        for ended in [pool.submit(stage) for stage in stages]:
            ended.result()


def prepared() -> Lab:
    """The lab that `prepare` made.

    Raises:
        LabError: it is not prepared.
    """
    if not machine.engine_answers():
        raise LabError("the lab is not prepared: run `make prepare`")
    return Lab(images.key(), root() / "artifacts")


