"""Images of a twin's hosts: built once for all they are made of, then found by their tag."""

import io
import shutil
import tarfile
from collections.abc import Callable, Mapping

import docker
from docker.errors import APIError, BuildError, ImageNotFound

from provision.errors import InputError
from provision.twin import apt
from provision.twin.names import RECIPE_LABEL
from provision.twin.recipes import RECIPES, Recipe, context, tag
from provision.values import printable, sha256

Say = Callable[[str], None]


def ensure(client: docker.DockerClient, name: str, say: Say) -> str:
    """The tag of the image `name`; it is built when there is none made of the same things.

    Args:
        client: of this machine's engine.
        name: one of `RECIPES`.
        say: gets a line before what takes long.

    Raises:
        InputError: it cannot be built, or its base not be had.
    """
    recipe = RECIPES[name]
    files = context(name, apt.certificates(), apt.options() if recipe.suite else [])
    image = tag(name, files)
    if not _exists(client, image):
        base = _base(client, recipe, say)
        say(f"building the image {image} on {base}")
        _build(client, files, base, image)
    return image


def _base(client: docker.DockerClient, recipe: Recipe, say: Say) -> str:
    """A Debian base is made from this machine's own mirror where it can be; others come from their registry."""
    if recipe.suite and shutil.which("mmdebstrap") and (sources := apt.sources_for(recipe.suite)):
        made = f"provision-twin/base-{recipe.suite}:{sha256(str((sources, apt.options())))[:12]}"
        if not _exists(client, made):
            say(f"making a minimal Debian {recipe.suite} with mmdebstrap")
            repository, _, version = made.partition(":")
            client.api.import_image_from_data(apt.mmdebstrap(recipe.suite, sources), repository=repository, tag=version)
        return made
    if not _exists(client, recipe.base):
        say(f"pulling {recipe.base}")
        try:
            client.images.pull(recipe.base)
        except APIError as error:
            hint = "install mmdebstrap on a Debian machine, or make a registry reachable" if recipe.suite else ""
            raise InputError(f"the image {recipe.base} cannot be pulled: {_said(error)}", hint) from error
    return recipe.base


def _build(client: docker.DockerClient, files: Mapping[str, bytes], base: str, image: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file, data in files.items():
            member = tarfile.TarInfo(file)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    packed.seek(0)
    labels = {RECIPE_LABEL: image.rpartition(":")[2]}
    try:
        client.images.build(
            fileobj=packed, custom_context=True, tag=image, buildargs={"BASE": base}, labels=labels, forcerm=True
        )
    except BuildError as error:
        lines = [str(entry.get("stream", "")).strip() for entry in error.build_log if isinstance(entry, dict)]
        last = " | ".join(line for line in lines if line)[-600:]
        raise InputError(f"the image {image} cannot be built: {printable(f'{error.msg}: {last}', 900)}") from error
    except APIError as error:
        raise InputError(f"the image {image} cannot be built: {_said(error)}") from error


def _exists(client: docker.DockerClient, image: str) -> bool:
    try:
        client.images.get(image)
    except ImageNotFound:
        return False
    return True


def _said(error: APIError) -> str:
    return printable(str(error.explanation or error), 300)
