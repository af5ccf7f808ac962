"""From a file to a plug-in that can be used, or to the sentence that says why not."""

from __future__ import annotations

import inspect
import json
import logging
import pkgutil
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import ValidationError
from pydantic.errors import PydanticUserError

from assistant.errors import InvalidSetting
from assistant.observability import redact
from assistant.plugins.contract import BotPlugin
from assistant.plugins.isolated import Isolated, Manifest, manifests_in
from assistant.settings import PLUGIN_API
from assistant.tools import inlined, toolbox, tools_in

logger = logging.getLogger(__name__)


# --- versions --------------------------------------------------------------------------------------


def satisfies(version: str, wanted: str) -> bool:
    """Whether `version` (1.2 or 1.2.3) fits `wanted`: `^1.0` (this major, at least that), `~1.2` (this minor), `1.2` (exactly).

    Raises ValueError where one of them is no version. Source: semver.org, and npm's meaning of ^ and ~.
    """
    have = _numbers(version)
    want = _numbers(wanted.lstrip("^~"))
    if wanted.startswith("^"):
        same = 1 if want[0] else 2  # before 1.0 each minor may break
        return have[:same] == want[:same] and have >= want
    if wanted.startswith("~"):
        return have[:2] == want[:2] and have >= want
    return have == want


def _numbers(version: str) -> tuple[int, int, int]:
    found = re.fullmatch(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", version)
    if not found:
        raise ValueError(f"{version!r} is no version; write one such as ^1.0")
    return int(found[1]), int(found[2]), int(found[3] or 0)


def order_of(version: str) -> tuple[int, int, int, str]:
    """What versions are sorted by, oldest first; one that is none stands before all."""
    try:
        return (*_numbers(version), "")
    except ValueError:
        return (0, 0, 0, version)


# --- loading ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What became of one plug-in."""

    name: str
    state: Literal["ready", "refused", "quarantined"]
    version: str = ""
    reason: str = ""
    """Why it is not ready, and what to do."""
    notes: tuple[str, ...] = ()
    """What is wrong with it although it works, such as a tool that had to be left out."""
    faults: int = 0
    """Faults of late, in this process."""
    since: int = 0
    """Unix second at which it was put into quarantine."""
    isolated: bool = False
    """Whether it runs in a function of its own."""


def find(package: str = "assistant_plugins") -> dict[str, str]:
    """Names of the modules in `package`, one plug-in each, with the full name of the module."""
    module = import_module(package)
    return {m.name: f"{package}.{m.name}" for m in pkgutil.iter_modules(module.__path__) if not m.name.startswith("_")}


def plugin_folder(package: str = "assistant_plugins") -> Path:
    """Where the plug-ins lie."""
    return Path(next(iter(import_module(package).__path__)))


def find_isolated(package: str = "assistant_plugins") -> dict[str, Manifest]:
    """The manifests of the plug-ins that run in functions of their own, by name. Raises InvalidSetting for one that is none."""
    return manifests_in(plugin_folder(package))


def plugin_in(module: ModuleType) -> type[BotPlugin]:
    """The one plug-in class that `module` defines; raises InvalidSetting for none or several."""
    classes = [
        c
        for c in vars(module).values()
        if inspect.isclass(c) and issubclass(c, BotPlugin) and c is not BotPlugin and c.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise InvalidSetting(f"{module.__name__} defines {len(classes)} plug-ins; one class derived from BotPlugin is wanted")
    return classes[0]


def build(made: type[BotPlugin], config: Mapping[str, Any]) -> BotPlugin:
    """The plug-in with its checked configuration; raises InvalidSetting with the reason."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", made.name):
        raise InvalidSetting(f"{made.__name__}.name is {made.name!r}; lower-case letters, digits and _ are wanted")
    try:
        fits = satisfies(PLUGIN_API, made.api)
    except ValueError as error:
        raise InvalidSetting(f"plug-in {made.name}: api = {error}") from None
    if not fits:
        raise InvalidSetting(
            f"plug-in {made.name} {made.version} is written for api {made.api}, this is {PLUGIN_API}; install a version that fits"
        )
    try:
        checked = made.Config.model_validate(dict(config))
    except ValidationError as error:
        raise InvalidSetting(f"plug-in {made.name}: {_first(error)}; correct its configuration") from None
    plugin = made(checked)
    if plugin.flows and made.run_flow is BotPlugin.run_flow:  # found now, not when somebody has filled in the form
        raise InvalidSetting(f"plug-in {made.name} declares flow {plugin.flows[0].name!r} but no run_flow; add the method")
    try:
        config_schema(plugin)
        toolbox(tools_in(plugin))
    except InvalidSetting as error:
        raise InvalidSetting(f"plug-in {made.name}: {error}") from None
    return plugin


def _first(error: ValidationError) -> str:
    """Field, value and what is wrong with it; the value of a field that sounds like a secret is not repeated."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(p) for p in first["loc"]) or "config"
    if first["type"] in ("missing", "extra_forbidden") or _SECRET.search(where):
        return f"{where}: {first['msg']}"
    value = redact(json.dumps(first["input"], ensure_ascii=False, default=str))
    return f"{where}: {value[:100]}{'…' if len(value) > 100 else ''} – {first['msg']}"


_SECRET = re.compile(r"(?i)secret|token|password|key|credential")


def config_schema(plugin: BotPlugin | type[BotPlugin]) -> dict[str, Any]:
    """The JSON Schema that a form is drawn from, without references; raises InvalidSetting where none can be."""
    if isinstance(plugin, Isolated):
        return dict(plugin.manifest.schema)
    try:
        schema = plugin.Config.model_json_schema()
    except PydanticUserError as error:
        raise InvalidSetting(f"its Config has no JSON Schema: {error.message.splitlines()[0]}") from None
    try:
        return inlined(schema)
    except InvalidSetting as error:
        raise InvalidSetting(f"its Config cannot be shown as a form: {error}") from None


def examples_of(plugin: BotPlugin) -> dict[str, str]:
    """What starts the plug-in's flows, as it is compared, with the name of the flow. Raises InvalidSetting where two have one."""
    known: dict[str, str] = {}
    for flow in plugin.flows:
        for text in flow.examples:
            said = " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())
            if known.setdefault(said, flow.name) != flow.name:
                raise InvalidSetting(
                    f"its flows {known[said]!r} and {flow.name!r} share the example {text!r}; change one of them"
                )
    return known


def load_file(path: Path) -> ModuleType:
    """The module in the file at `path`; raises InvalidSetting where it cannot be imported."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(f"checked_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InvalidSetting(f"{str(path)!r} is no Python file; name the plug-in's file")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where type hints that are written as texts are looked up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the file is somebody's work in progress: whatever it raises is named
        raise InvalidSetting(f"{str(path)!r} cannot be imported: {type(error).__name__}: {error}") from error
    return module
