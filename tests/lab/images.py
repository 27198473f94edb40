"""Images of the lab's hosts: Debian 12 and 13 with systemd and sshd, without Python; stand-ins for other families."""

import io
import subprocess
import tarfile
from pathlib import Path

from docker.errors import BuildError, ImageNotFound

from provision.twin import apt
from tests.lab.cache import RECIPES, LabError, locked, recipe_hash, root, run, stage
from tests.lab.machine import client, sources

SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
FAMILIES = ("rocky", "opensuse", "arch")
"""Debian 13 that says it is of another family, with that one's real package tools (from Debian) and hidden own ones."""
VARIANTS = ("bare", "plain", "sudo-password", "su-only", "max-sessions-1")
SUDO_PASSWORD = "lab-sudo"
"""admin's password in the variant `sudo-password`."""
ROOT_PASSWORD = "lab-root"
"""root's password in the variant `su-only`."""

BASE_PACKAGES = (
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "openssh-server",
    "sudo",
    "ca-certificates",
    "iproute2",
    "procps",
    "iputils-ping",
)
DOWNLOADED = {
    "debian-12": ("docker.io", "iptables", "nftables", "curl", "zstd", "jq", "pciutils"),
    # from Debian 13 on the client is a package of its own
    "debian-13": ("docker.io", "docker-cli", "iptables", "nftables", "curl", "zstd", "jq", "pciutils"),
}
_RECIPE = RECIPES / "host"
_LABEL = "provision-lab.recipe"


def key() -> Path:
    """The private key of the lab's users, made at the first call."""
    path = root() / "id_ed25519"
    with locked("key"):
        if not path.exists():
            run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", path), what="the lab's key")
    return path


def tag(suite: str, variant: str = "plain") -> str:
    """The image of a host: `provision-lab/debian-13:plain`."""
    if (suite not in SUITES or variant not in VARIANTS) and (suite not in FAMILIES or variant != "plain"):
        known = ", ".join((*SUITES, *FAMILIES))
        raise LabError(f"no lab image {suite} {variant}: one of {known}; {', '.join(VARIANTS)}")
    return f"provision-lab/{suite}:{variant}"


def host_image(suite: str) -> None:
    """Build all variants of a suite's hosts, unless they are there and of the same recipe.

    Raises:
        LabError: a build failed; its last lines are shown.
    """
    files = _context_files(suite)
    recipe = recipe_hash(*(name + ":" for name in files), *files.values(), str(BASE_PACKAGES), str(DOWNLOADED[suite]))
    with locked(f"image-{suite}"):
        missing = [variant for variant in VARIANTS if not _is_built(tag(suite, variant), recipe)]
        if not missing:
            return
        base = debootstrapped(SUITES[suite], BASE_PACKAGES)
        with stage(f"host images {suite}: {' '.join(missing)}"):
            for variant in missing:
                _build(files, tag(suite, variant), variant, recipe, BASE=base, DOWNLOAD=" ".join(DOWNLOADED[suite]))


def family_images() -> None:
    """Build the stand-ins for other families, unless they are there and of the same recipe.

    Raises:
        LabError: a build failed; its last lines are shown.
    """
    host_image("debian-13")
    base = tag("debian-13", "bare")
    folder = RECIPES / "families"
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    recipe = recipe_hash(folder, client().images.get(base).labels[_LABEL])
    with locked("image-families"):
        missing = [family for family in FAMILIES if not _is_built(tag(family), recipe)]
        if missing:
            with stage(f"stand-ins for other families: {' '.join(missing)}"):
                for family in missing:
                    _build(files, tag(family), family, recipe, BASE=base)


def _context_files(suite: str) -> dict[str, bytes]:
    settings = [*apt.options(), 'Acquire::Languages "none";', 'Acquire::Retries "3";', 'Dpkg::Use-Pty "0";', ""]
    files = {f"certificates/{name}": data for name, data in apt.certificates().items()}
    # a COPY needs one file at least
    files["certificates/README"] = b"CA certificates of the machine that made this image\n"
    files |= {name: (_RECIPE / name).read_bytes() for name in ("Dockerfile", "lab-init", "setup")}
    files["apt/lab.conf"] = "\n".join(settings).encode()
    files["apt/lab.list"] = "".join(f"{s.line()}\n" for s in sources(SUITES[suite])).encode()
    files["id_lab.pub"] = key().with_suffix(".pub").read_bytes()
    return files


def _is_built(name: str, recipe: str) -> bool:
    try:
        return client().images.get(name).labels.get(_LABEL) == recipe
    except ImageNotFound:
        return False


def _build(files: dict[str, bytes], name: str, target: str, recipe: str, **arguments: str) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            member.mode = 0o755 if path in ("lab-init", "setup") else 0o644
            archive.addfile(member, io.BytesIO(data))
    context.seek(0)
    try:
        client().images.build(
            fileobj=context,
            custom_context=True,
            tag=name,
            target=target,
            buildargs=arguments,
            labels={_LABEL: recipe},
            rm=True,
            forcerm=True,
        )
    except BuildError as error:
        lines = [str(entry.get("stream", "")).strip() for entry in error.build_log if isinstance(entry, dict)]
        raise LabError(f"image {name}: {error.msg}: {' | '.join(lines[-8:])}") from error


def debootstrapped(suite: str, packages: tuple[str, ...]) -> str:
    """The tag of an image with a minimal Debian `suite` and `packages`, made by mmdebstrap."""
    name = f"provision-lab/base-{suite}:{recipe_hash(suite, *packages, *apt.options(), str(sources(suite)))}"
    if _exists(name):
        return name
    with stage(f"mmdebstrap {suite}"):
        ended = subprocess.run(mmdebstrap_command(suite, packages, "-"), capture_output=True, check=False)
        if ended.returncode:
            problem = ended.stderr.decode(errors="replace")[-600:]
            raise LabError(f"mmdebstrap {suite} ended with {ended.returncode}: {problem}")
        repository, _, version = name.partition(":")
        client().api.import_image_from_data(ended.stdout, repository=repository, tag=version)
    return name


def _exists(name: str) -> bool:
    try:
        client().images.get(name)
    except ImageNotFound:
        return False
    return True


def mmdebstrap_command(suite: str, packages: tuple[str, ...], target: str) -> list[str]:
    """mmdebstrap for `suite` from this machine's mirror into a tar `target` (`-`: standard output)."""
    options = [f"--aptopt={line}" for line in (*apt.options(), 'Acquire::Languages "none"', 'Acquire::Retries "5"')]
    excluded = ("doc", "man", "locale", "info")
    return [
        "mmdebstrap",
        "--quiet",
        "--format=tar",
        "--variant=minbase",
        "--hook-dir=/usr/share/mmdebstrap/hooks/eatmydata",
        f"--include={','.join(packages)}",
        *options,
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in excluded),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        suite,
        target,
        *(source.line() for source in sources(suite)),
    ]
