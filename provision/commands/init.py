"""`provision init`: a new fleet."""

from pathlib import Path

import click

FILES = {
    "inventory.yml": "inventory/@NAME@.yml",
    "test_fleet.py": "tests/test_fleet.py",
    "github.yml": ".github/workflows/fleet.yml",
    "gitlab.yml": ".gitlab-ci.yml",
    "README.md": "README.md",
    "requirements.txt": "requirements.txt",
    "gitignore": ".gitignore",
}
"""File of templates/init -> where it goes."""

PASSWORD = "secrets/webui-admin-password"


@click.command()
@click.argument("folder", metavar="DIR", type=Path, help="The folder to begin in; made when it is not there.")
def init(folder: Path) -> None:
    """Begin a fleet: an inventory to edit, a first test, CI for GitHub and GitLab. Nothing is overwritten."""
    import re
    from importlib.metadata import version

    from provision.data import data_root
    from provision.errors import InputError

    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-") or "fleet"
    words = {"@NAME@": name, "@VERSION@": version("provision")}
    content = {
        folder / _fill(target, words): _fill((data_root() / "templates" / "init" / source).read_text(), words)
        for source, target in FILES.items()
    }
    there = [str(path) for path in (*content, folder / PASSWORD) if path.exists() or path.is_symlink()]
    if there:
        raise InputError(f"already there: {', '.join(there)}", "name another folder; nothing was written")
    try:
        for path, text in content.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        _write_password(folder / PASSWORD)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from error
    for path in (*content, folder / PASSWORD):
        click.echo(f"wrote {path}")
    inventory = folder / _fill(FILES["inventory.yml"], words)
    click.echo(f"Now edit {inventory}, then: cd {folder} && provision check")


def _fill(text: str, words: dict[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text


def _write_password(path: Path) -> None:
    import secrets

    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_urlsafe(18) + "\n")
