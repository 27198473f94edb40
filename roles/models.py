"""The models that an Ollama server has: pulled, uploaded, or derived from others by Modelfiles."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, model_validator

from provision.errors import InputError, Mistake
from provision.models.modelfile import Modelfile, parse
from provision.models.names import ModelName, looks_like_gpt_oss
from provision.resources.base import Resource
from provision.resources.derived_model import DerivedModel
from provision.resources.model_prune import ModelPrune
from provision.resources.model_store import Server
from provision.resources.ollama_model import OllamaModel
from provision.view import HostView


def _local_name(text: str) -> str:
    if ModelName.parse(text).remote:
        raise ValueError(f"{text} runs at ollama.com, not on this server")
    return text


Name = Annotated[str, AfterValidator(_local_name)]


class Parameters(BaseModel):
    """PARAMETERs of a Modelfile; what is not set here stays as the Modelfile or the base has it."""

    model_config = ConfigDict(extra="forbid")

    num_ctx: int | None = Field(default=None, ge=1, description="tokens of context")
    num_keep: int | None = None
    num_predict: int | None = None
    num_batch: int | None = Field(default=None, ge=1)
    num_gpu: int | None = Field(default=None, description="layers on the GPU; the server finds it out by itself")
    num_thread: int | None = Field(default=None, ge=0)
    main_gpu: int | None = Field(default=None, ge=0)
    seed: int | None = None
    top_k: int | None = Field(default=None, ge=0)
    repeat_last_n: int | None = Field(default=None, ge=-1)
    draft_num_predict: int | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, ge=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    typical_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    use_mmap: bool | None = None
    stop: list[str] | None = None

    def values(self) -> dict[str, Any]:
        """Those that are set."""
        return self.model_dump(exclude_none=True)


class Model(BaseModel):
    """One model. With nothing set it is pulled from registry.ollama.ai by its name.

    `from` or `modelfile` make it a derived model.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    base: Name | None = Field(default=None, alias="from", description="the model that this one is derived from")
    modelfile: str | None = Field(
        default=None, description="a Modelfile beside the inventory, or a template `*.Modelfile.j2`"
    )
    system: str | None = Field(default=None, description="system prompt; goes before that of the Modelfile")
    parameters: Parameters = Field(default_factory=lambda: Parameters(), description="go before those of the Modelfile")
    source: Name | None = Field(default=None, description="pull it by this name, HOST:PORT/namespace/model:tag")
    insecure: bool = Field(default=False, description="plain http to the registry")
    digest: str | None = Field(
        default=None, pattern=r"^(sha256:)?[0-9a-f]{12,64}$", description="of the manifest or the weights"
    )
    gguf: str | None = Field(default=None, description="a GGUF file beside the inventory, uploaded instead of pulled")

    @property
    def derived(self) -> bool:
        """Whether a Modelfile makes it."""
        return bool(self.base or self.modelfile)

    @model_validator(mode="after")
    def _one_origin(self) -> "Model":
        if self.derived and (self.source or self.gguf or self.insecure or self.digest):
            raise ValueError("a model with `from` or `modelfile` is not pulled: no source, gguf, insecure or digest")
        if self.gguf and (self.source or self.insecure or self.digest):
            raise ValueError("a model from a gguf file is not pulled: no source, insecure or digest")
        if not self.derived and (self.system or self.parameters.values()):
            raise ValueError("system and parameters make another model: give it a name of its own and say `from`")
        return self


class Settings(RootModel[list[Name] | dict[Name, Model | None]]):
    """A list of names, or a mapping from names to what differs from a plain pull, so that a group can add one."""

    root: list[Name] | dict[Name, Model | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _no_doubles(self) -> "Settings":
        keys = [ModelName.parse(name).key for name in self.root]
        doubles = sorted(str(name) for name in self.root if keys.count(ModelName.parse(name).key) > 1)
        if doubles:
            raise ValueError(f"the same model several times: {', '.join(doubles)}")
        return self

    @property
    def models(self) -> dict[str, Model]:
        """Always the mapping."""
        entries = dict(self.root) if isinstance(self.root, dict) else dict.fromkeys(self.root)
        return {name: model or Model() for name, model in entries.items()}


@dataclass(frozen=True)
class Origin:
    """What a derived model is made from: its parsed Modelfile, and the folder that relative paths in it start from."""

    parsed: Modelfile
    folder: Path
    adapter: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """GGUF files beside the Modelfile that its FROM lines name."""
        return tuple(self.folder / source for source in self.parsed.sources if _is_file(self.folder, source))

    @property
    def base(self) -> str | None:
        """The model that its FROM line names."""
        return None if self.files else self.parsed.sources[0]


def declare(host: HostView, want: Settings) -> Iterator[Resource]:
    """Bases before what is derived from them; what is not declared goes only with `models_prune: true`."""
    server = _server(host)
    origins = _origins(want, host.render, host.find)
    made: dict[str, OllamaModel | DerivedModel] = {}
    for name in _in_order(want.models, origins):
        if name in origins:
            made[ModelName.parse(name).key] = _derived(name, origins[name], server, made)
        else:
            made[ModelName.parse(name).key] = _plain(name, want.models.get(name, Model()), server, host.find)
    yield from made.values()
    if _prune(host):
        yield ModelPrune(tuple(sorted(str(model.local) for model in made.values())), server)


def check(want: Settings, render: Callable[..., str], find: Callable[[str], Path | None]) -> list[Mistake]:
    """Mistakes in the Modelfiles and files that the settings name, found without any host."""
    try:
        _in_order(want.models, _origins(want, render, find))
        for name, model in want.models.items():
            if model.gguf:
                _file(name, model.gguf, find)
    except InputError as error:
        return list(error.mistakes) or [Mistake("models", 0, 0, error.message)]
    return []


def _plain(name: str, model: Model, server: Server, find: Callable[[str], Path | None]) -> OllamaModel:
    gguf = _file(name, model.gguf, find) if model.gguf else None
    return OllamaModel(name, model.source, gguf, model.insecure, model.digest, server, after=("service:ollama",))


def _derived(name: str, origin: Origin, server: Server, made: Mapping[str, Resource]) -> DerivedModel:
    base = made[ModelName.parse(origin.base).key] if origin.base else None
    return DerivedModel(name, origin.parsed, origin.files, origin.adapter, base, server, after=("service:ollama",))


def _origins(want: Settings, render: Callable[..., str], find: Callable[[str], Path | None]) -> dict[str, Origin]:
    """Of all derived models. All their mistakes are found before any is reported."""
    origins: dict[str, Origin] = {}
    mistakes: list[Mistake] = []
    for name, model in want.models.items():
        if model.derived:
            try:
                origins[name] = _origin(name, model, render, find)
            except InputError as error:
                mistakes += error.mistakes or (Mistake("models", 0, 0, error.message),)
    if mistakes:
        raise InputError(mistakes)
    return origins


def _origin(name: str, model: Model, render: Callable[..., str], find: Callable[[str], Path | None]) -> Origin:
    """The parsed Modelfile with the settings put over it."""
    folder = Path()
    if model.modelfile is None:
        parsed = Modelfile((str(model.base),))
    elif model.modelfile.endswith(".j2"):
        variables = {"model": name, "base": model.base, "system": model.system, "parameters": model.parameters.values()}
        text = render(model.modelfile, **variables)
        parsed = parse(text, model.modelfile)
    else:
        file = _file(name, model.modelfile, find)
        folder = file.parent
        parsed = parse(_text(file), str(file))
    parsed = replace(
        parsed,
        sources=(model.base,) if model.base else parsed.sources,
        system=model.system or parsed.system,
        parameters={**parsed.parameters, **model.parameters.values()},
    )
    adapter = _file(name, str(folder / parsed.adapter), find) if parsed.adapter else None
    origin = Origin(parsed, folder, adapter)
    if not origin.files:
        _check_base(name, parsed, model.modelfile or "models")
    return origin


def _check_base(name: str, parsed: Modelfile, file: str) -> None:
    if len(parsed.sources) > 1:
        raise InputError([Mistake(file, 0, 0, f"{name}: several FROM lines need files beside the Modelfile")])
    try:
        base = ModelName.parse(_local_name(parsed.sources[0]))
    except ValueError as error:
        raise InputError([Mistake(file, 0, 0, f"{name}: FROM: {error}")]) from error
    if parsed.template and looks_like_gpt_oss(base):
        text = f"{name}: a model on {base} keeps its own template: use SYSTEM and PARAMETER only"
        raise InputError([Mistake(file, 0, 0, text)])


def _is_file(folder: Path, source: str) -> bool:
    return folder != Path() and (folder / source).is_file()


def _file(model: str, name: str, find: Callable[[str], Path | None]) -> Path:
    found = Path(name) if Path(name).is_absolute() else find(name)
    if found is None or not found.is_file():
        raise InputError([Mistake("models", 0, 0, f"{model}: there is no file {name}")])
    return found


def _text(file: Path) -> str:
    data = file.read_bytes()
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError([Mistake(str(file), 0, 0, "neither UTF-8 nor UTF-16 text")]) from error


def _in_order(models: Iterable[str], origins: Mapping[str, Origin]) -> list[str]:
    """Bases first; a base that is not declared is pulled as if it were."""
    names = {ModelName.parse(name).key: name for name in models}
    ordered: dict[str, None] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in above:
            raise InputError(f"models are derived from each other in a circle: {' -> '.join((*above, name))}")
        base = origins[name].base if name in origins else None
        if base:
            add(names.get(ModelName.parse(base).key, base), (*above, name))
        ordered[name] = None

    for name in models:
        add(name, ())
    return list(ordered)


def _server(host: HostView) -> Server:
    """Port and model store as the role `ollama` has them."""
    ollama = host.settings.get("ollama")
    port = getattr(ollama, "port", None) or Server.port
    return Server(int(port), str(getattr(ollama, "models_dir", None) or Server.models_dir))


def _prune(host: HostView) -> bool:
    value = host.vars.get("models_prune", False)
    if not isinstance(value, bool):
        raise InputError(f"{host.name}: models_prune is true or false, not {value!r}")
    return value
