"""Names of models: `[host[:port]/][namespace/]model[:tag]` (ollama: types/model/name.go)."""

import re
from dataclasses import dataclass

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,344}(?::[0-9]{1,5})?")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")


@dataclass(frozen=True, order=True)
class ModelName:
    """A model's full name. `str()` is the short form that Ollama prints: defaults dropped, the tag kept."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """From any form that Ollama takes, without a scheme.

        Raises:
            ValueError: it is no model name; the message says what is wrong with it.
        """
        if "://" in text:
            raise ValueError(
                f"{text!r}: write the name without {text.split('://')[0]}:// (plain http is `insecure: true`)"
            )
        *front, last = text.split("/")
        if len(front) > 2:
            raise ValueError(f"{text!r} is not [host[:port]/][namespace/]model[:tag]: too many slashes")
        model, colon, tag = last.partition(":")
        host = front[0] if len(front) == 2 else DEFAULT_HOST
        namespace = front[-1] if front else DEFAULT_NAMESPACE
        parts = (
            ("host", host, _HOST),
            ("namespace", namespace, _NAMESPACE),
            ("model", model, _PART),
            ("tag", tag if colon else DEFAULT_TAG, _PART),
        )
        for what, value, pattern in parts:
            if not pattern.fullmatch(value):
                raise ValueError(f"{text!r} is not a model name: its {what} cannot be {value!r}")
        return cls(host, namespace, model, tag if colon else DEFAULT_TAG)

    def __str__(self) -> str:
        short = f"{self.model}:{self.tag}"
        if self.host != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{short}"
        return short if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/{short}"

    @property
    def key(self) -> str:
        """For comparing: Ollama matches names without regard to case."""
        return self.full.lower()

    @property
    def full(self) -> str:
        """With every part."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def path(self) -> str:
        """Of its manifest below `manifests/` of a model store."""
        return f"{self.host}/{self.namespace}/{self.model}/{self.tag}"

    @property
    def remote(self) -> bool:
        """A stub for a model that runs at ollama.com: no weights, needs a sign-in there."""
        return self.tag == "cloud" or self.tag.endswith("-cloud")

    def manifest_url(self, insecure: bool = False) -> str:
        """Where its registry keeps the manifest."""
        scheme = "http" if insecure else "https"
        return f"{scheme}://{self.host}/v2/{self.namespace}/{self.model}/manifests/{self.tag}"


def looks_like_gpt_oss(name: ModelName) -> bool:
    """Whether a name is of the gpt-oss family, whose template must be left alone (ollama: server/routes.go)."""
    return name.model.lower().replace("_", "-").startswith("gpt-oss")
