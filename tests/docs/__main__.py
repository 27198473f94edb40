"""`make docs`: write the pages that are made from the code."""

from tests.docs.pages import DOCS, pages


def main() -> None:
    """Write every generated page below docs/."""
    for name, text in pages().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    main()
