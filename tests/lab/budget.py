"""What each module of lab tests may take, in seconds of its own; modules run beside each other.

The table at the end of a run shows what they took. A busy machine is no failure: only PROVISION_LAB_STRICT=1 makes one
of it. A single test that hangs is ended in any case.
"""

from collections.abc import Mapping

DEFAULT = 120.0
MODULES = {
    "test_apply_roles": 180.0,
    "test_bridge": 240.0,
    "test_docker_objects": 240.0,
    "test_driver": 180.0,
    "test_families": 300.0,
    "test_fleet": 300.0,
    "test_gpus": 240.0,
    "test_host_firewall": 300.0,
    "test_office": 300.0,
    "test_role_docker": 180.0,
    "test_open_webui": 360.0,
    "test_roles_models": 240.0,
    "test_sabotage": 720.0,
    "test_session_become": 180.0,
    "test_twin": 360.0,
    "faults/test_ollama": 180.0,
}
"""Those that need more than DEFAULT."""

TEST = 900
"""Seconds after which the preparation, the body or the end of one test is stopped."""


def module_of(test: str) -> str:
    """`faults/test_ollama` for `tests/lab/faults/test_ollama.py::test_x[a]`."""
    return test.partition("::")[0].removeprefix("tests/lab/").removesuffix(".py")


def budget(module: str) -> float:
    """Its seconds."""
    return MODULES.get(module, DEFAULT)


def over(taken: Mapping[str, float]) -> list[str]:
    """The modules that took more than their budget."""
    return [module for module, seconds in taken.items() if seconds > budget(module)]


def table(taken: Mapping[str, float]) -> list[str]:
    """A line for each module, the longest first: seconds, budget, and a mark when it is over."""
    late = over(taken)
    width = max((len(module) for module in taken), default=0)
    return [
        f"{module:<{width}}  {seconds:6.1f} s of {budget(module):4.0f}{'  OVER BUDGET' if module in late else ''}"
        for module, seconds in sorted(taken.items(), key=lambda one: -one[1])
    ]
