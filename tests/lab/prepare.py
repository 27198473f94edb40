"""Prepare the lab on a machine where nothing is installed: `python -m tests.lab prepare`."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab import gguf, images, machine, ollama, open_webui
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
    hosts = (partial(images.host_image, suite) for suite in reversed(images.SUITES))
    # The longest first: two at a time, as the smallest machine has cores.
    _together(open_webui.archive, *hosts, ollama.releases, gguf.tiny)
    images.family_images()
    return Lab(images.key(), _artifacts())


def _artifacts() -> Path:
    """The directory of files for hosts without internet, as an office would fill it."""
    folder = root() / "artifacts"
    folder.mkdir(exist_ok=True)
    found = {path.name: path for path in (*ollama.releases().iterdir(), gguf.tiny(), open_webui.archive())}
    for link in folder.iterdir():
        if link.name not in found:
            link.unlink()
    for name, path in found.items():
        link = folder / name
        if not link.is_symlink() or link.readlink() != path:
            link.unlink(missing_ok=True)
            link.symlink_to(path)
    return folder


def _together(*stages: Callable[[], object]) -> None:
    """Run stages at once; the first error is raised when all have ended."""
    with ThreadPoolExecutor(max_workers=3) as pool:
        for ended in [pool.submit(stage) for stage in stages]:
            ended.result()


def prepared() -> Lab:
    """The lab that `prepare` made.

    Raises:
        LabError: it is not prepared.
    """
    if not machine.engine_answers() or not (root() / "artifacts").is_dir():
        raise LabError("the lab is not prepared: run `make prepare`")
    return Lab(images.key(), root() / "artifacts")
