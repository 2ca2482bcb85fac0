"""Imports what a user wrote: a module or a function, named as `PACKAGE.MODULE:FUNCTION`; whatever fails is one sentence."""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

from hpcnas.errors import UsageError

FUNCTION_FORM = "PACKAGE.MODULE:FUNCTION"
_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def is_function_name(name: str) -> bool:
    """Whether a text has the form PACKAGE.MODULE:FUNCTION."""
    module, _, function = name.partition(":")
    return function.isidentifier() and all(part.isidentifier() for part in module.split("."))


def import_own_function(option: str, name: str, call: str) -> Callable[..., Any]:
    """The function `name`, of the form PACKAGE.MODULE:FUNCTION.

    Args:
        option: as a user writes it, such as --fitness.
        call: how the function is called, for the message about what is none.
    Raises:
        UsageError: it cannot be imported, is missing or is no function.
    """
    module, _, function = name.partition(":")
    found = getattr(import_own_module(option, name, module), function, None)
    if found is None:
        raise UsageError(f"{option} {name}: module {module} has no function {function}")
    if not callable(found):
        raise UsageError(f"{option} {name} is not a function; it must be callable as {call}")
    return cast(Callable[..., Any], found)


def import_own_module(option: str, name: str, module: str) -> ModuleType:
    """Import a user's module; whatever it does at that, leaving the program too, becomes one sentence.

    Args:
        name: the value of `option`, which names the module and perhaps a function.
    Raises:
        UsageError: it cannot be imported.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"{option} {name}: {module} is no name of a module; give PACKAGE.MODULE, as a.b for the file a/b.py")
    # The console script does not have the working folder on its path, `python -m` does.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    arguments, sys.argv = sys.argv, [module]  # a script without a guard must not read ours, nor complain in our name
    try:
        return importlib.import_module(module)
    except ImportError as error:
        todo = "it must be installed, or lie where the command is typed"
        if module.endswith(".py"):
            todo = f"give the module without .py, as {option} {name.replace(module, module.removesuffix('.py'), 1)}"
        raise UsageError(f"{option} {name} cannot be imported: {error}; {todo}") from error
    except BaseException as error:
        raise_if_interrupted(error)
        raise UsageError(f"{option} {name} cannot be imported: module {module} {_fault_at_import(error)}") from error
    finally:
        sys.argv = arguments


def call_own(what: str, function: Callable[..., Any], *arguments: object, **named: object) -> Any:
    """What a user's function returns; whatever it raises, SystemExit too, becomes one sentence.

    Args:
        what: begins the sentence, such as "--dataset mine:load".
    Raises:
        UsageError: the function raised.
    """
    try:
        return function(*arguments, **named)
    except BaseException as error:
        raise_if_interrupted(error)
        raise UsageError(f"{what} {_fault(error)}") from error


def raise_if_interrupted(error: BaseException) -> None:
    """Raise `error` again if it is a person's Ctrl-C."""
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        raise error


def _fault_at_import(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"ends the program ({_in_words(error)}); put what it does as a script below `if __name__ == '__main__':`"
    if isinstance(error, SyntaxError):  # its text names file and line
        return f"cannot be read ({_in_words(error)}); mend it first"
    return _fault(error)


def _fault(error: BaseException) -> str:
    # Not a place in hpcnas itself, whose checks a user's line may have called, nor one without a file, as in a dataclass.
    others = (_PACKAGE, "<")
    places = [place for place in traceback.extract_tb(error.__traceback__) if not place.filename.startswith(others)]
    where = f"; {os.path.basename(places[-1].filename)}, line {places[-1].lineno}" if places else ""
    return f"fails ({_in_words(error)}{where}); mend it first"


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
