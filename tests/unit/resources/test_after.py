"""What a role says with `after` has an effect: no resource takes it and leaves it unread."""

import dataclasses
import inspect
from typing import Any, cast

import pytest

from tests.docs.pages import resource_classes

WITH_AFTER = [
    one for one in resource_classes() if "after" in {field.name for field in dataclasses.fields(cast(Any, one))}
]


@pytest.mark.parametrize("kind", WITH_AFTER, ids=lambda kind: kind.__name__)
def test_what_a_resource_comes_after_is_read(kind: type) -> None:
    family = [base for base in kind.__mro__ if base.__module__.startswith("provision.")]
    assert any("self.after" in inspect.getsource(base) for base in family)
