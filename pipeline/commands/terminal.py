"""What every command does alike: where it prints, what it logs, how an error reaches the user, exit codes."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from pipeline.ingest.urls import mask_credentials
from pipeline.stop_on_signal import StopOnSignal

if TYPE_CHECKING:
    from pipeline.report import Progress, RunReport

log = logging.getLogger(__name__)

EXIT_FAILED = 1
EXIT_BAD_CONFIGURATION = 2
EXIT_NO_CAMERA = 3
EXIT_INTERRUPTED = 130

out = Console()
err = Console(stderr=True)


class _MaskCredentials(logging.Filter):
    """No password reaches a log, whoever writes the line."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + "".join(traceback.format_exception(record.exc_info[1]))
            record.exc_info = None
        record.msg, record.args = mask_credentials(text), ()
        return True


def say_stopping() -> None:
    """What is said at the first Ctrl-C."""
    err.print("Stopping: finishing what was read; press Ctrl-C again to give up.", highlight=False)


def follow(work: Callable[[Callable[[Progress], None], Callable[[], bool]], RunReport], *, quiet: bool) -> None:
    """Do work that takes a while: show how far it is, let Ctrl-C end it cleanly, say what came of it.

    `work(show, stop)` is told where to show its progress and asked to end when `stop()` says so.
    """
    from pipeline.console import Display, print_report

    stop = StopOnSignal(say_stopping)
    with reported_errors(), stop, Display(out, quiet=quiet) as display:
        report = work(display.show, stop.is_set)
    if not quiet:
        print_report(out, report)
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)


def set_up_logging(verbose: bool) -> None:
    handler = RichHandler(console=err, show_path=False, rich_tracebacks=False, markup=False)
    handler.addFilter(_MaskCredentials())
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler], force=True
    )


@contextmanager
def reported_errors() -> Iterator[None]:
    """Errors that a user can mend are told in one paragraph, with the exit code that fits; others keep their trace."""
    from pipeline.ingest.ticks import NoCameraError
    from pipeline.runtime.chain import StageError
    from pipeline.sinks.files import OutputError
    from pipeline.transport.redis_streams import TransportError
    from pipeline.yaml_file import ConfigError

    try:
        yield
    except KeyboardInterrupt:
        err.print("Interrupted.", highlight=False)
        sys.exit(EXIT_INTERRUPTED)
    except NoCameraError as error:
        _fail(error, EXIT_NO_CAMERA)
    except (OutputError, TransportError) as error:
        _fail(error, EXIT_FAILED)
    except StageError as error:
        cause = error.__cause__
        if error.building and isinstance(cause, ValueError | OSError | ImportError):
            _fail(cause, EXIT_BAD_CONFIGURATION)
        err.print_exception()
        _fail(error, EXIT_FAILED)
    except ConfigError as error:
        _fail(error, EXIT_BAD_CONFIGURATION)
    except ValueError as error:  # what the rooms say of files and values they were given
        _fail(error, EXIT_BAD_CONFIGURATION)


def _fail(error: BaseException, code: int) -> NoReturn:
    log.info("where it was raised:", exc_info=error)  # shown with --verbose
    err.print(f"[bold red]error:[/] {escape(mask_credentials(str(error)))}", highlight=False, soft_wrap=True)
    sys.exit(code)


def write_json(path: Path, payload: Mapping[str, Any]) -> None:
    """Write a result as JSON to a file, or with `-` to standard output. Raises OutputError."""
    from pipeline.sinks.run_json import json_text, write_json_atomically

    if str(path) == "-":
        print(json_text(payload), end="")
    else:
        write_json_atomically(path, payload)
