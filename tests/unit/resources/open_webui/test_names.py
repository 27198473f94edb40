"""Names of variables and stored settings, each mistake with what to write instead."""

import pytest

from provision.resources.open_webui.names import environment_mistake, known, setting_mistake, stored


def test_the_list_is_the_one_of_open_webui_0_12_4() -> None:
    assert len(known()) > 800
    assert len(stored()) > 370
    assert known()["ENABLE_SIGNUP"] == "ui.enable_signup"
    assert known()["CORS_ALLOW_ORIGIN"] == ""
    assert not [key for key in stored() if key.startswith("oauth.")]


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("CORS_ALLOW_ORIGIN", None),
        ("USE_SLIM_DOCKER", None),
        ("HTTPS_PROXY", None),
        ("ENABLE_OAUTH_SIGNUP", None),
        ("CORS_ALLOW_ORIGINS", "did you mean 'CORS_ALLOW_ORIGIN'?"),
        ("DEFAULT_USER_ROLE", "write it under settings as ui.default_user_role"),
        ("USER_PERMISSIONS_CHAT_DELETE", "write it under settings as user.permissions"),
        ("WEBUI_ADMIN_PASSWORD", "write open_webui.admin.password"),
        ("OLLAMA_BASE_URL", "write open_webui.backends"),
        ("DATABASE_URL", "the database is the SQLite file"),
        ("FOO", "Open WebUI reads no variable FOO"),
    ],
)
def test_variables(name: str, mistake: str | None) -> None:
    said = environment_mistake(name)
    assert said is None if mistake is None else said is not None and mistake in said


@pytest.mark.parametrize(
    ("key", "mistake"),
    [
        ("ui.default_user_role", None),
        ("user.permissions", None),
        ("ui.default_user_rol", "did you mean 'ui.default_user_role'?"),
        ("DEFAULT_USER_ROLE", "the stored key is ui.default_user_role"),
        ("oauth.client_id", "write its variable under environment"),
    ],
)
def test_settings(key: str, mistake: str | None) -> None:
    said = setting_mistake(key)
    assert said is None if mistake is None else said is not None and mistake in said
