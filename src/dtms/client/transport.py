"""How one request is carried: the protocols, and the live carrier over `requests` with a time-out for all of it.

`requests` bounds each read, not their sum: a server that drips a byte now and then would hold a cycle for hours. So the
request runs in a worker thread, the caller waits at most the time-out, and a worker that is cut off has its socket shut
down under it, so that it ends instead of leaking.
"""

from __future__ import annotations

import functools
import http.client
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final, Protocol

import requests
from requests.adapters import HTTPAdapter

from dtms.client.wire import Reply, Request, TransportError

MAX_WORKERS: Final = 5
"""At once, those included that were cut off and cannot end (a name look-up cannot be shut down)."""

_CHUNK: Final = 1 << 16
_TRANSPORT_FAULTS: Final = (requests.RequestException, http.client.HTTPException, OSError, ValueError)


class Transport(Protocol):
    """Carries one request; a simulation gives one that answers in its own process, on its own clock."""

    def fetch(self, request: Request) -> Reply:
        """Return the whole answer within `request.timeout_s` in all, of at most `request.max_bytes`.

        Raises:
            TransportError: There was none.
        """
        ...


class AsyncTransport(Protocol):
    """The same for coroutines."""

    async def fetch(self, request: Request) -> Reply:
        """Return the whole answer within `request.timeout_s` in all, of at most `request.max_bytes`.

        Raises:
            TransportError: There was none.
        """
        ...


class RequestsTransport:
    """Carries requests by `requests`: each by a session of its own, or all by one that is given.

    A session of one's own keeps no connection that the server may meanwhile have given up, is shared by no two threads,
    and reads neither proxies nor credentials from the environment.
    """

    def __init__(self, session: requests.Session | None = None) -> None:
        self._session = session
        self._slots = threading.BoundedSemaphore(MAX_WORKERS)

    def fetch(self, request: Request) -> Reply:
        """Return the whole answer, cut off at the time-out.

        Raises:
            TransportError: Refused, reset, cut off, or too large.
        """
        if not self._slots.acquire(blocking=False):
            msg = f"{MAX_WORKERS} earlier requests to {request.url} still hang, cut off by their time-out but not ended"
            raise TransportError(msg)
        job = _Job(self._session, request, self._slots)
        try:
            return job.future.result(timeout=request.timeout_s)
        except (TimeoutError, requests.Timeout) as error:
            job.cut_off()
            msg = f"no whole answer within {request.timeout_s} s"
            raise TransportError(msg) from error
        except _TRANSPORT_FAULTS as error:
            msg = f"{type(error).__name__}: {error}"[:200]
            raise TransportError(msg) from error


class _Job:
    """One request in its own thread."""

    def __init__(self, session: requests.Session | None, request: Request, slots: threading.BoundedSemaphore) -> None:
        self.future: Future[Reply] = Future()
        self._session = session
        self._request = request
        self._slots = slots
        self._lock = threading.Lock()
        self._is_cut_off = False
        self._socket: socket.socket | None = None
        thread = threading.Thread(target=self._run, name="dtms-client", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            slots.release()
            msg = f"no thread could be started for the request ({error})"
            raise TransportError(msg) from error

    def watch(self, sock: socket.socket | None) -> None:
        """Remember the socket that the answer will come from."""
        with self._lock:
            if self._is_cut_off:
                msg = "cut off before the answer began"
                raise ConnectionAbortedError(msg)
            self._socket = sock

    def cut_off(self) -> None:
        """Make the worker end: its next or present read fails."""
        with self._lock:
            self._is_cut_off = True
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    # Closed already: the worker ended on its own in the same instant.
                    self._socket = None

    def _run(self) -> None:
        _THREAD.job = self
        try:
            if self._session is not None:
                self.future.set_result(self._exchange(self._session))
            else:
                with _own_session() as session:
                    reply = self._exchange(session)
                self.future.set_result(reply)
        except BaseException as error:  # noqa: BLE001 - handed over whole to the caller, who waits for it
            self.future.set_exception(error)
        finally:
            self._slots.release()

    def _exchange(self, session: requests.Session) -> Reply:
        request = self._request
        response = session.request(
            request.method,
            request.url,
            headers=dict(request.headers),
            data=request.body,
            timeout=(request.timeout_s, request.timeout_s),
            allow_redirects=False,
            stream=True,
        )
        with response:
            if not is_plain(response.headers):
                msg = f"the answer is encoded as {response.headers['Content-Encoding']!r:.40}, which was not asked for"
                raise TransportError(msg)
            body = bytearray()
            for chunk in response.iter_content(_CHUNK):
                body += chunk
                if len(body) > request.max_bytes:
                    raise TransportError(too_large(request))
                if self._is_cut_off:
                    msg = "cut off within the answer"
                    raise ConnectionAbortedError(msg)
            return Reply(status=response.status_code, body=bytes(body))


def is_plain(headers: Mapping[str, str]) -> bool:
    """Say whether the body comes as it is: a compressed one could be a bomb, and was not asked for."""
    return headers.get("Content-Encoding", "identity").lower() == "identity"


def too_large(request: Request) -> str:
    """Return the reason for refusing a body."""
    return f"the answer is larger than {request.max_bytes} bytes"


class _ThreadJob(threading.local):
    job: _Job | None = None


_THREAD: Final = _ThreadJob()


class _WatchedAdapter(HTTPAdapter):
    """Tells the thread's job which socket it is about to read from; the library has no other way to shut it down."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _watched(pool.ConnectionCls)
        return pool


@functools.cache
def _watched(connection: type[Any]) -> type[Any]:
    if getattr(connection, "dtms_watched", False):
        return connection

    def getresponse(self: Any) -> Any:
        if _THREAD.job is not None:
            _THREAD.job.watch(self.sock)
        return connection.getresponse(self)

    return type(f"Watched{connection.__name__}", (connection,), {"getresponse": getresponse, "dtms_watched": True})


def _own_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    adapter = _WatchedAdapter()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
