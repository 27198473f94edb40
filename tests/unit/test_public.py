import subprocess
import sys

import pytest

import provision


@pytest.mark.parametrize("name", provision.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(provision, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Flie"):
        _ = provision.Flie


def test_the_package_alone_loads_nothing_heavy() -> None:
    code = "import provision, sys; print([m for m in ('pydantic', 'paramiko', 'docker', 'jinja2') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
