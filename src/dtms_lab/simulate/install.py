"""The throw-away installation of a run over a tape: a data folder of its own, a clock file, the terminal's address, and its end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtms.errors import SettingsError
from dtms.services.supervise.supervisor import ProcessFailedError
from dtms.settings import LEDGER_FILE, TERMINAL_FILE, Settings


@contextmanager
def run_folder(settings: Settings) -> Iterator[Settings]:
    """Give a run an empty data folder and remove it afterwards, unless a process failed: then its logs are wanted.

    A data folder that was named in the settings is used, and stays.

    Raises:
        SettingsError: The named folder holds a ledger: the simulated broker begins with nothing, so a run must too.
    """
    if settings.broker != "simulated":
        msg = f"setting broker is {settings.broker!r}: a tape is played by the simulated broker; unset DTMS_BROKER"
        raise SettingsError(msg)
    if "data_dir" in settings.model_fields_set:
        folder = settings.data_dir.absolute()
        if (folder / LEDGER_FILE).exists():
            msg = (
                f"data folder {folder} holds a ledger already, and the simulated broker begins with no positions; "
                "set DTMS_DATA_DIR to an empty folder or unset it"
            )
            raise SettingsError(msg)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield _placed(settings, folder)
        return
    folder = Path(tempfile.mkdtemp(prefix="dtms-"))
    try:
        yield _placed(settings, folder)
    except ProcessFailedError as error:
        error.add_note(f"the logs are in {folder / 'log'}")
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _placed(settings: Settings, folder: Path) -> Settings:
    places = {
        "data_dir": folder,
        "clock_file": folder / "clock.json",
        "terminal_file": folder / TERMINAL_FILE,
    }
    return settings.model_copy(update=places)
