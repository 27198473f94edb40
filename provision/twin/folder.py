"""What this machine keeps of a twin: the key that was made for it, its hosts' keys, an ssh_config."""

from pathlib import Path

from provision.dataclass import dataclass


@dataclass(frozen=True)
class Folder:
    """A folder that only its owner can read."""

    path: Path

    @property
    def key(self) -> Path:
        """The private key of who logs in."""
        return self.path / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys."""
        return self.path / "known_hosts"

    @property
    def config(self) -> Path:
        """In place of ~/.ssh/config: a bastion or a user named there is not the twin's."""
        return self.path / "ssh_config"

    def make(self) -> str:
        """Make what is missing; gives the public key, one line.

        Raises:
            InputError: it cannot be written.
        """
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        from provision.report.reporters import own_folder

        own_folder(self.path)
        self.config.touch()
        public = self.key.with_suffix(".pub")
        if not public.exists():
            key = Ed25519PrivateKey.generate()
            self.key.touch(mode=0o600)
            self.key.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()))
            text = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
            # Written last: a run that was killed before begins anew.
            public.write_bytes(text + b" provision-twin\n")
        return public.read_text().strip()
