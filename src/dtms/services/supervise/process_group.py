"""The product's processes on one machine: which there are, and how they find each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import requests

from dtms.ports.notifier import Notifier
from dtms.services.supervise.supervisor import Role, Supervisor
from dtms.services.web.health import API_NAME, GATEWAY_NAME, SERVER_NAME
from dtms.settings import Settings

READY_WITHIN_S: Final = 60.0
_ASK_S: Final = 2.0


class ProcessGroup:
    """The processes of one installation, supervised.

    Args:
        settings: The installation; its data folder exists.
        notifier: Told of deaths.
        broker: Processes that stand beside the three services: a simulated terminal; none where the broker is a real one.
    """

    def __init__(self, settings: Settings, notifier: Notifier, broker: Sequence[Role] = ()) -> None:
        self.settings = settings
        self._broker = tuple(broker)
        self._session = requests.Session()
        self._session.trust_env = False
        self.supervisor = Supervisor(
            log_dir=settings.data_dir / "log", environment=environment_of(settings), notifier=notifier
        )

    def start(self) -> None:
        """Start everything and wait until it is ready.

        Raises:
            ProcessFailedError: A process ended or did not become ready.
        """
        settings = self.settings
        gateway = self._service("gateway", settings.gateway_url, GATEWAY_NAME)
        server = self._service("server", settings.server_url, SERVER_NAME)
        api = self._service("api", settings.api_url, API_NAME)
        # All at once: each waits for what it stands on, and most of a start is importing.
        self.supervisor.start([*self._broker, gateway, server, api], timeout_s=READY_WITHIN_S)
        self.supervisor.watch()

    def stop(self) -> None:
        """End every process."""
        self.supervisor.stop()
        self._session.close()

    def _service(self, name: str, url: str, service: str) -> Role:
        return Role(
            name=name,
            arguments=(name,),
            ready=lambda: self._answers(f"{url}/health/ready"),
            alive=lambda: self._names_itself(f"{url}/health/live", service),
        )

    def _answers(self, url: str) -> bool:
        try:
            return self._session.get(url, timeout=_ASK_S).status_code == HTTPStatus.OK
        except requests.RequestException:
            return False

    def _names_itself(self, url: str, service: str) -> bool:
        try:
            return bool(self._session.get(url, timeout=_ASK_S).json()["service"] == service)
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return False


def environment_of(settings: Settings) -> Mapping[str, str]:
    """Return the settings as the variables from which another process makes the same ones."""
    given: dict[str, str] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        variable = f"DTMS_{name.upper()}"
        if value is None:
            continue
        secret = getattr(value, "get_secret_value", None)
        given[variable] = str(value if secret is None else secret())
    # The file has been read: what it says is in the values above.
    given["DTMS_CONFIG"] = ""
    return {name: os.path.abspath(value) if name == "DTMS_DATA_DIR" else value for name, value in given.items()}  # noqa: PTH100 - a text
