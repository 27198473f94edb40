"""The names that Open WebUI 0.12.4 knows: variables of its environment, and keys of its stored configuration.

`environment.txt` has one name a line. `NAME=db.key` is read once, at the first start, and stored under the key: later
values in the environment are ignored (open_webui/config.py, `seed_registered_defaults`). A plain `NAME` is read at
every start; so are the `oauth.*` ones, which are never stored by default.
"""

from functools import cache
from pathlib import Path

from provision.inventory.names import did_you_mean

LIBRARIES = frozenset(
    {
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("HF_ENDPOINT", "HF_HOME", "HF_TOKEN", "SENTENCE_TRANSFORMERS_HOME", "TZ", "LANG", "FORWARDED_ALLOW_IPS"),
        *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"),
        *("ANONYMIZED_TELEMETRY", "DO_NOT_TRACK", "SCARF_NO_ANALYTICS", "PYTHONUNBUFFERED"),
    }
)
"""Read by its libraries or by the image's own start script."""

OWNED = {
    "WEBUI_SECRET_KEY": "it is made on the host and kept there",
    "WEBUI_JWT_SECRET_KEY": "WEBUI_SECRET_KEY is made on the host and kept there",
    "WEBUI_ADMIN_EMAIL": "write open_webui.admin.email",
    "WEBUI_ADMIN_NAME": "write open_webui.admin.name",
    "WEBUI_ADMIN_PASSWORD": "write open_webui.admin.password",
    "WEBUI_AUTH": "without accounts everybody is admin; it stays on",
    "WEBUI_NAME": "write open_webui.name",
    "ENABLE_SIGNUP": "write open_webui.signup",
    "BYPASS_MODEL_ACCESS_CONTROL": "write open_webui.models_for",
    "OFFLINE_MODE": "write open_webui.offline",
    "OLLAMA_BASE_URL": "write open_webui.backends",
    "OLLAMA_BASE_URLS": "write open_webui.backends",
    "OLLAMA_API_BASE_URL": "write open_webui.backends",
    "PORT": "write open_webui.port",
    "HOST": "write open_webui.listen",
    "DATA_DIR": "the data are in open_webui.volume",
    "ENABLE_PERSISTENT_CONFIG": "settings are kept in the database and reconciled there; write open_webui.settings",
    "RESET_CONFIG_ON_START": "settings are reconciled in the database; write open_webui.settings",
    "UVICORN_WORKERS": "SQLite takes one worker",
} | dict.fromkeys(
    [f"DATABASE_{part}" for part in ("URL", "TYPE", "USER", "PASSWORD", "HOST", "PORT", "NAME")],
    "the database is the SQLite file in open_webui.volume",
)
"""What the role decides by itself -> what to write instead."""

ENGINE = "rag.embedding_engine"
"""Which service makes embeddings: "" is the server itself."""


def needs_restart(key: str, engine: object) -> bool:
    """Whether a running server has read this key already (open_webui/main.py, `initialize_runtime_config`, `lifespan`).

    Args:
        key: of a stored setting that changes.
        engine: the value of `ENGINE`: addresses of other engines are not in use.
    """
    for name in ("ollama", "openai", "azure_openai"):
        if key.startswith(f"rag.{name}."):
            return engine == name
    return key.startswith(("rag.embedding_", "rag.reranking_", "rag.external_reranker", "rag.enable_", "tool_server."))


@cache
def known() -> dict[str, str]:
    """Variable -> key it is stored under, "" for those read at every start."""
    lines = (Path(__file__).parent / "environment.txt").read_text().splitlines()
    return {name: key for name, _, key in (line.partition("=") for line in lines) if name}


@cache
def stored() -> frozenset[str]:
    """All keys of the stored configuration."""
    lines = (Path(__file__).parent / "environment.txt").read_text().splitlines()
    return frozenset(key for _, _, key in (line.partition("=") for line in lines) if key)


def environment_mistake(name: str) -> str | None:
    """Why this variable cannot be declared, with what to write instead; None when it can."""
    if name in OWNED:
        return f"{name} is set by this role: {OWNED[name]}"
    family = "USER_PERMISSIONS_*" if name.startswith("USER_PERMISSIONS_") else name
    if key := known().get(family):
        return f"{name} is read at the first start only and then kept in the database: write it under settings as {key}"
    if name in known() or name in LIBRARIES:
        return None
    return f"Open WebUI reads no variable {name}{did_you_mean(name, [*known(), *LIBRARIES])}"


def setting_mistake(key: str) -> str | None:
    """Why this key cannot be declared under `settings`; None when it can."""
    if key.startswith("oauth."):
        return f"{key} is read from the environment at every start: write its variable under environment"
    if key in stored():
        return None
    if stored_as := known().get(key):
        return f"{key} is the variable's name; the stored key is {stored_as}"
    return f"Open WebUI stores no setting {key}{did_you_mean(key, stored())}"
