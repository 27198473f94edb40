"""Names of models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.models.names import ModelName, looks_like_gpt_oss

PART = st.from_regex(r"[a-z0-9_][a-z0-9_.\-]{0,20}", fullmatch=True)
NAMES = st.builds(
    ModelName,
    host=st.from_regex(r"[a-z0-9][a-z0-9.\-]{0,20}(:[0-9]{1,5})?", fullmatch=True) | st.just("registry.ollama.ai"),
    namespace=st.from_regex(r"[a-z0-9_][a-z0-9_\-]{0,20}", fullmatch=True) | st.just("library"),
    model=PART,
    tag=PART | st.just("latest"),
)


@pytest.mark.parametrize(
    ("text", "full", "short"),
    [
        ("tiny", "registry.ollama.ai/library/tiny:latest", "tiny:latest"),
        ("gpt-oss:20b", "registry.ollama.ai/library/gpt-oss:20b", "gpt-oss:20b"),
        ("me/tiny", "registry.ollama.ai/me/tiny:latest", "me/tiny:latest"),
        ("hf.co/user/Repo:Q4_K_M", "hf.co/user/Repo:Q4_K_M", "hf.co/user/Repo:Q4_K_M"),
        ("10.0.0.1:5000/library/tiny:1", "10.0.0.1:5000/library/tiny:1", "10.0.0.1:5000/library/tiny:1"),
    ],
)
def test_a_name_is_completed_and_shortened(text: str, full: str, short: str) -> None:
    name = ModelName.parse(text)
    assert (name.full, str(name)) == (full, short)


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", ":a", "a/", "/a", "a//b", "a/b/c/d", "a b", "a;b", "-a", "a:-b", "a.b/c", "a/b c/d", "x" * 81,
     "http://h/a/b", "a:b:c", "$(id)", "a\nb", "../a", "a@sha256:00"],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not|without"):
        ModelName.parse(text)


@given(NAMES)
def test_a_printed_name_is_read_back(name: ModelName) -> None:
    assert ModelName.parse(str(name)) == name
    assert ModelName.parse(name.full) == name


def test_names_are_compared_without_regard_to_case() -> None:
    assert ModelName.parse("Tiny:Q4").key == ModelName.parse("tiny:q4").key


def test_a_manifest_lies_below_its_full_name() -> None:
    name = ModelName.parse("tiny")
    assert name.path == "registry.ollama.ai/library/tiny/latest"
    assert name.manifest_url() == "https://registry.ollama.ai/v2/library/tiny/manifests/latest"
    assert ModelName.parse("h:1/n/m:t").manifest_url(insecure=True) == "http://h:1/v2/n/m/manifests/t"


@pytest.mark.parametrize(("text", "remote"), [("gpt-oss:20b-cloud", True), ("gpt-oss:cloud", True), ("cloud:1", False)])
def test_models_that_run_elsewhere_are_known_by_their_tag(text: str, remote: bool) -> None:
    assert ModelName.parse(text).remote is remote


@pytest.mark.parametrize(("text", "is_one"), [("gpt-oss:20b", True), ("me/GPT_OSS-x", True), ("llama", False)])
def test_gpt_oss_is_known_by_its_name(text: str, is_one: bool) -> None:
    assert looks_like_gpt_oss(ModelName.parse(text)) is is_one
