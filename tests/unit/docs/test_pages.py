import pytest

from tests.docs.pages import DOCS, pages


@pytest.mark.parametrize("name", ["roles.md", "resources.md", "cli.md", "verify.md"])
def test_the_page_agrees_with_the_code(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], "run `make docs`"
