"""The real Open WebUI as an image, from its PyPI package, with paths, port, variables and command of the published one.

Debian 12 and Python 3.11 instead of 13 and 3.12, no ffmpeg, pandoc and git, no models inside; the slim flavour.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from docker.errors import ImageNotFound

from tests.lab.cache import RECIPES, LabError, made, recipe_hash, run
from tests.lab.images import debootstrapped
from tests.lab.machine import client

VERSION = "0.12.4"
IMAGE = f"ghcr.io/open-webui/open-webui:v{VERSION}"
ARCHIVE = f"open-webui-v{VERSION}.tar.zst"
_PACKAGES = ("python3", "ca-certificates", "curl", "jq")
_RECIPE = RECIPES / "open-webui"


def archive() -> Path:
    """`docker save` of the image, packed with zstd; the image itself is not kept in this machine's engine."""
    recipe = recipe_hash(Path(__file__), _RECIPE)
    return made("open-webui", recipe, _build) / ARCHIVE


def _build(target: Path) -> None:
    context = target / "context"
    python = context / "py"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    run(
        (*pip, "download", "--no-deps", "-d", target / "wheel", f"open-webui=={VERSION}"), what="Open WebUI", attempts=3
    )
    with zipfile.ZipFile(next((target / "wheel").glob("*.whl"))) as wheel:
        wheel.extractall(target / "package")
    package = target / "package"
    wanted = next(package.rglob("requirements-slim.txt"))
    # Debian 12 has Python 3.11.2, for which redis needs what later ones bring along.
    install = (*pip, "install", "--no-compile", "--target", python, "-r", wanted, "async-timeout")
    run(install, what="what Open WebUI needs", attempts=3)
    _application(package, context / "app")
    shutil.copy(_RECIPE / "Dockerfile", context)
    shutil.copy(_RECIPE / "start.sh", context / "app" / "backend")
    base = debootstrapped("bookworm", _PACKAGES)
    build = ("docker", "build", "-q", "--force-rm", "--build-arg", f"BASE={base}", "-t", IMAGE, context)
    run(build, what="the image of Open WebUI", env={"DOCKER_BUILDKIT": "0"})
    _save(target / ARCHIVE)
    for name in ("context", "wheel", "package"):
        shutil.rmtree(target / name)


def _application(package: Path, app: Path) -> None:
    source = package / "open_webui"
    (app / "backend").mkdir(parents=True)
    shutil.move(source / "frontend", app / "build")
    shutil.move(source, app / "backend" / "open_webui")
    changes = app / "backend" / "open_webui" / "CHANGELOG.md"
    if changes.exists():
        shutil.copy(changes, app)
    (app / "package.json").write_text(json.dumps({"name": "open-webui", "version": VERSION}))


def _save(file: Path) -> None:
    with file.open("wb") as out:
        saver = subprocess.Popen(("docker", "save", IMAGE), stdout=subprocess.PIPE)
        packer = subprocess.run(("zstd", "-q", "-3", "-T0"), stdin=saver.stdout, stdout=out, check=False)
    if saver.wait() or packer.returncode:
        raise LabError(f"docker save {IMAGE} failed")


def load() -> str:
    """Have the image in this machine's engine; returns its name."""
    try:
        client().images.get(IMAGE)
    except ImageNotFound:
        unpacker = subprocess.Popen(("zstd", "-dc", os.fspath(archive())), stdout=subprocess.PIPE)
        ended = subprocess.run(("docker", "load", "-q"), stdin=unpacker.stdout, capture_output=True, check=False)
        if unpacker.wait() or ended.returncode:
            raise LabError(f"docker load: {io.BytesIO(ended.stderr).read()[-300:].decode(errors='replace')}") from None
    return IMAGE
