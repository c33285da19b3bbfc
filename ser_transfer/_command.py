"""What every command shares: settings from a recipe and flags, one-line errors, exit codes.

A command is a frozen dataclass of settings, a function that notebooks call, and
``main = command(Settings, run)``. Settings come from the defaults, then from a recipe (a YAML
file, the first argument), then from flags; an unknown or mistyped one is refused. A verb may take
further words without a flag, such as files: they are the value of one of its settings.
"""

from __future__ import annotations

import gc
import itertools
import json
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ser_transfer._interrupts import INTERRUPTED, Interrupts
from ser_transfer.errors import SerTransferError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from jsonargparse import ArgumentParser

Settings = TypeVar("Settings", bound="DataclassInstance")

RECIPE_SUFFIXES = (".yaml", ".yml")


class SettingsError(SerTransferError):
    """A setting that no command knows, or a value that it cannot take."""


def parse_settings(
    settings_class: type[Settings], arguments: Sequence[str], prog: str, *, words: str | None = None
) -> Settings:
    """Read a recipe and flags into one settings object.

    Args:
        settings_class: A frozen dataclass whose fields were declared with `setting`.
        arguments: The command line without the program's name: an optional recipe path, then flags.
        prog: The command as the user types it, for the messages.
        words: The setting, a tuple of texts, that words without a flag go to, wherever they stand; a first
            one that ends in .yaml or .yml is the recipe even so. None for a verb that takes no others.

    Raises:
        SettingsError: If a key is unknown, a value has another type, or a required one is missing.
        SystemExit: After `--help`.
    """
    from jsonargparse import ArgumentError

    parser = _parser(settings_class, prog, words)
    arguments = list(arguments)
    given: list[str] = []
    if words is not None:
        is_recipe = bool(arguments) and arguments[0].lower().endswith(RECIPE_SUFFIXES)
        given, flags_only = _without_flags(arguments[is_recipe:], settings_class)
        arguments = [*arguments[:is_recipe], *flags_only]
    if arguments and not arguments[0].startswith("-"):
        recipe = Path(arguments.pop(0))
        _check_recipe(recipe, settings_class)
        arguments = ["--config", str(recipe), *arguments]
    try:
        values = vars(parser.parse_args(arguments))
    except ArgumentError as error:
        known = ""
        if "unrecognized" in str(error):
            flags = ("--" + item.name.replace("_", "-") for item in fields(settings_class))
            known = f"; known are {', '.join(flags)}"
        raise SettingsError(f"{' '.join(str(error).split())}{known}; see {prog} --help") from None
    values.pop("config", None)
    if words is not None:
        values[words] = tuple(given or values[words])
    return settings_class(**values)


def _without_flags(arguments: Sequence[str], settings_class: type[Any]) -> tuple[list[str], list[str]]:
    """Part a command line into words without a flag, and flags with their values.

    argparse finds such words only where they stand together, and none behind a switch.
    """
    hints = get_type_hints(settings_class)
    switches = {"--help", "--print_config"}
    for item in fields(settings_class):
        if hints[item.name] is bool:
            name = item.name.replace("_", "-")
            switches |= {f"--{name}", f"--no-{name}"}
    words: list[str] = []
    flags: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            words += remaining
        elif not argument.startswith("-"):
            words.append(argument)
        else:
            flags.append(argument)
            if argument.startswith("--") and "=" not in argument and argument not in switches:
                flags += itertools.islice(remaining, 1)  # its value
    return words, flags


def _parser(settings_class: type[Any], prog: str, words: str | None) -> ArgumentParser:
    """Build the parser: `--some-name` for a field `some_name`, `--name`/`--no-name` for a bool."""
    from jsonargparse import ActionYesNo, ArgumentParser

    summary = (settings_class.__doc__ or "").strip()
    others = "" if words is None else f"[{words.upper()} ...] "
    usage = f"{prog} [RECIPE.yaml] {others}[--key value ...]"
    parser = ArgumentParser(prog=prog, usage=usage, description=summary, exit_on_error=False)
    parser.add_argument("--config", action="config", help="a recipe; the same as giving it first")
    hints = get_type_hints(settings_class)
    for item in fields(settings_class):
        flag = "--" + item.name.replace("_", "-")
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        options: dict[str, Any] = {"required": True} if default is MISSING else {"default": default}
        options["help"] = item.metadata["help"]
        if hints[item.name] is bool:
            parser.add_argument(flag, action=ActionYesNo(no_prefix="no-"), **options)
        else:
            parser.add_argument(flag, type=hints[item.name], **options)
    return parser


def _check_recipe(recipe: Path, settings_class: type[Any]) -> None:
    """Refuse a recipe that is missing, is no mapping, or has a key the command does not know."""
    import yaml

    if not recipe.is_file():
        raise SettingsError(f"no recipe at {recipe}: the first argument is a YAML file; flags start with --")
    try:
        content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise SettingsError(f"{recipe} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{recipe} holds no mapping of settings; write one `key: value` per line")
    known = {item.name for item in fields(settings_class)}
    unknown = sorted(str(key) for key in content if key not in known)
    if unknown:
        raise SettingsError(
            f"{recipe}: unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )


def command(
    settings_class: type[Settings], run: Callable[[Settings], int | None], *, words: str | None = None
) -> Callable[..., int]:
    """Make the `main` of a command.

    Args:
        settings_class: Its settings.
        run: Does the work and prints; may return an exit code, None meaning 0.
        words: The setting that words without a flag go to; see `parse_settings`.

    Returns:
        A function of the command line (default: `sys.argv`) that returns the exit code: 0 only
        when all was done, 1 after an error that the user can put right, 130 after Ctrl-C.
    """
    verb = run.__module__.rpartition(".")[2] if run.__module__ != "__main__" else Path(sys.argv[0]).stem
    prog = f"python -m ser_transfer.{verb}"

    def main(arguments: Sequence[str] | None = None) -> int:
        # Importing makes a million objects and hardly any garbage: looking through them over and over takes a
        # tenth of a short command's time. Collections still happen, after 200,000 new objects, not 700.
        gc.set_threshold(200_000, 30, 30)
        typed = sys.argv[1:] if arguments is None else arguments
        interrupts = Interrupts()
        if arguments is None:
            interrupts.listen()
        try:
            settings = parse_settings(settings_class, typed, prog, words=words)
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return run(settings) or 0
        except (Exception, KeyboardInterrupt) as error:
            is_interrupted = isinstance(error, KeyboardInterrupt) or interrupts.n > 0
            if isinstance(error, SerTransferError):
                print(f"error: {error}", file=sys.stderr)
            elif not is_interrupted:
                raise
            if not is_interrupted:
                return 1
            again = _again(prog, typed, settings_class)
            print(f"interrupted; what was finished is kept. Go on with: {again}", file=sys.stderr)
            interrupts.end_at_once()
            return INTERRUPTED

    return main


def _again(prog: str, typed: Sequence[str], settings_class: type[Any]) -> str:
    """Write the command that goes on from where this one was interrupted: `--restart` would not."""
    words = [word for word in typed if word != "--restart"]
    if "resume" in {item.name for item in fields(settings_class)} and "--resume" not in words:
        words.append("--resume")
    return shlex.join([*prog.split(), *words])


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print a warning as one line for people, without the code that raised it."""
    print(f"warning: {message}", file=sys.stderr)


def as_flags(settings: Any, settings_class: type[Any], *, without: Sequence[str] = ()) -> str:
    """Write the settings that another command shares, where they are not its defaults, as flags to type.

    Args:
        settings: Of this command.
        settings_class: Of the other one.
        without: Settings that mean something else there.
    """
    words = []
    for item in fields(settings_class):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        value = getattr(settings, item.name, default)
        if value == default or item.name in without:
            continue
        words.append("--" + item.name.replace("_", "-"))
        if value is not True:
            words.append(shlex.quote(json.dumps(value) if isinstance(value, dict | list) else str(value)))
    return " ".join(words)


class CallableModule(ModuleType):
    """A verb's module that is called like its verb.

    `ser_transfer.embed` is a module (``python -m ser_transfer.embed``) and a function (``from
    ser_transfer import embed``). Once the module is imported, Python binds that name to it; as it
    answers calls like the function, both imports mean the same thing whichever came first.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function that has the module's own name."""
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)
