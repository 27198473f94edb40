"""Images of a twin's hosts: built once for all they are made of, then found by their tag."""

import contextlib
import io
import shutil
import tarfile
from collections.abc import Callable, Mapping

import docker
from docker.errors import APIError, BuildError, ImageNotFound, NotFound

from provision.errors import InputError
from provision.facts.osrelease import read, system
from provision.twin import apt
from provision.twin.hosts import only_file
from provision.twin.names import RECIPE_LABEL
from provision.twin.recipes import DOCKERFILES, RECIPES, Recipe, context, tag
from provision.values import printable, sha256

Say = Callable[[str], None]


def ensure(client: docker.DockerClient, name: str, say: Say) -> str:
    """The tag of the image `name`; it is built when there is none made of the same things.

    Args:
        client: of this machine's engine.
        name: one of `RECIPES`, or any other image.
        say: gets a line before what takes long.

    Raises:
        InputError: it cannot be built, or its base not be had.
    """
    recipe = RECIPES.get(name) or _recipe_of(client, name, say)
    debian = recipe.dockerfile == DOCKERFILES["debian"]
    files = context(recipe, apt.certificates(), apt.options() if debian else [])
    image = tag(name, recipe, files)
    if not _exists(client, image):
        base = _base(client, recipe, say)
        say(f"building the image {image} on {base}")
        _build(client, files, base, image)
    return image


def _recipe_of(client: docker.DockerClient, name: str, say: Say) -> Recipe:
    """What a twin of any other image is built from: the image as it is now, by its family's packages."""
    _pull(client, name, say)
    text = _os_release(client, name)
    os = system(read(text.decode("utf-8", "replace").splitlines()))
    if os.family not in DOCKERFILES:
        said = printable(os.name, 80) if text else "no os-release"
        raise InputError(f"the image {name} has {said}: twins are of the families {', '.join(DOCKERFILES)}")
    return Recipe(str(client.images.get(name).id), DOCKERFILES[os.family])


def _os_release(client: docker.DockerClient, name: str) -> bytes:
    """The file of an image, which need not be able to run anything; empty when it has none."""
    container = client.containers.create(name, ["none"])
    try:
        # In most /etc/os-release is a link to the first.
        for path in ("/usr/lib/os-release", "/etc/os-release"):
            with contextlib.suppress(NotFound):
                if text := only_file(container, path):
                    return text
    finally:
        container.remove()
    return b""


def _base(client: docker.DockerClient, recipe: Recipe, say: Say) -> str:
    """A Debian base is made from this machine's own mirror where it can be; others come from their registry."""
    if recipe.suite and shutil.which("mmdebstrap") and (sources := apt.sources_for(recipe.suite)):
        made = f"provision-twin/base-{recipe.suite}:{sha256(str((sources, apt.options())))[:12]}"
        if not _exists(client, made):
            say(f"making a minimal Debian {recipe.suite} with mmdebstrap")
            repository, _, version = made.partition(":")
            client.api.import_image_from_data(apt.mmdebstrap(recipe.suite, sources), repository=repository, tag=version)
        return made
    hint = "install mmdebstrap on a Debian machine, or make a registry reachable" if recipe.suite else ""
    return _pull(client, recipe.base, say, hint)


def _pull(client: docker.DockerClient, image: str, say: Say, hint: str = "") -> str:
    """See that an image is there."""
    if not _exists(client, image):
        say(f"pulling {image}")
        try:
            client.images.pull(image)
        except APIError as error:
            raise InputError(f"the image {image} cannot be pulled: {_said(error)}", hint) from error
    return image


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
