"""Passwords that are typed: `-k` and `-K`."""

from provision.values import Secret


def ask(ask_pass: bool, ask_become_pass: bool) -> tuple[Secret | None, Secret | None]:
    """Ask for the passwords that are wanted, the login's and the one to become root.

    An empty answer for the second means the first, as with Ansible.
    """
    login = _typed("SSH password") if ask_pass else None
    become = _typed("sudo or su password", login) if ask_become_pass else None
    return login, become


def _typed(what: str, same: Secret | None = None) -> Secret:
    import typer

    hint = " [the SSH password]" if same else ""
    text = typer.prompt(what + hint, hide_input=True, err=True, default="" if same else None, show_default=False)
    return same if same and not text else Secret.of(text)
