"""What every command shares: messages instead of traces, exit codes, and Ctrl-C that lets a step end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

log = logging.getLogger(__name__)

ERR = Console(stderr=True)
EXIT_FAILED = 1
EXIT_BAD_CONFIGURATION = 2
EXIT_INTERRUPTED = 130


def say_stopping() -> None:
    """What is said at the first Ctrl-C."""
    ERR.print("Stopping after this step; press Ctrl-C again to give up.", highlight=False)


def set_up_logging(verbose: bool) -> None:
    handler = RichHandler(console=ERR, show_path=False, rich_tracebacks=False, markup=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("reid_train").setLevel(logging.INFO if verbose else logging.WARNING)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Errors that a user can mend are told in one paragraph, with the exit code that fits; others keep their trace."""
    try:
        yield
    except KeyboardInterrupt:
        ERR.print("Interrupted.", highlight=False)
        sys.exit(EXIT_INTERRUPTED)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:  # of files and values that were given
        _fail(error, EXIT_BAD_CONFIGURATION)
    except OSError as error:
        _fail(error, EXIT_FAILED)
    except RuntimeError as error:
        from reid_train.onnx_file import ExportError
        from reid_train.trainer import TrainingError

        if not isinstance(error, TrainingError | ExportError):
            raise
        _fail(error, EXIT_FAILED)


def _fail(error: BaseException, code: int) -> NoReturn:
    log.info("where it was raised:", exc_info=error)  # shown with --verbose
    ERR.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    sys.exit(code)
