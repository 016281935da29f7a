"""`dtms kill`: press the kill switch, let it go, show it. It needs no service: the file and the ledger are written from here.

The file is what a gateway asks before each send, so it is written first; the ledger's level follows where the ledger can be
written, with who pressed. Without a ledger the gateway takes the file over as soon as it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from dtms.cli import options
from dtms.cli.output import UnreachableError, emit, line, say
from dtms.cli.own_ledger import own_ledger
from dtms.errors import DtmsError, SettingsError

if TYPE_CHECKING:
    from dtms.app.modes.kill_switch import KillState, KillSwitch
    from dtms.domain.verdict import KillLevel
    from dtms.ports.ledger import LedgerRead
    from dtms.settings import Settings

group = typer.Typer(
    name="kill",
    help="Press the kill switch, let it go, or show it; works with the services down.",
    rich_markup_mode=None,
)


def add(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group)


@group.callback(invoke_without_command=True)
def show(context: typer.Context, config: options.Config = None, as_json: options.Json = False) -> None:
    """Press the kill switch, let it go, or show it; works with the services down."""
    if context.invoked_subcommand is None:
        _tell(options.settings_of(config), as_json=as_json)


@group.command()
def pause(config: options.Config = None, as_json: options.Json = False) -> None:
    """Plan nothing any more and send nothing that adds risk; deadlines go on alarming."""
    from dtms.domain.verdict import KillLevel

    _press(KillLevel.PAUSE, config, as_json=as_json)


@group.command("protect-only")
def protect_only(config: options.Config = None, as_json: options.Json = False) -> None:
    """Let only what reduces risk through."""
    from dtms.domain.verdict import KillLevel

    _press(KillLevel.PROTECT_ONLY, config, as_json=as_json)


@group.command()
def flatten(config: options.Config = None, as_json: options.Json = False) -> None:
    """Close every position in dtms's name, managed or not; positions of others are not touched."""
    from dtms.domain.verdict import KillLevel

    _press(KillLevel.FLATTEN, config, as_json=as_json)


@group.command()
def release(config: options.Config = None, as_json: options.Json = False) -> None:
    """Let go, whoever has pressed and from where; closings that were not sent yet are cancelled."""
    from dtms.app.modes.kill_file import remove_word
    from dtms.services.wiring import sentinel_of

    settings = options.settings_of(config)
    removed = remove_word(sentinel_of(settings))
    try:
        _with_switch(settings, lambda switch: switch.release(_person()))
    except DtmsError as error:
        done = "the file is removed" if removed else "there is no file"
        msg = f"{done}, but what the ledger holds cannot be let go of now ({error}); it stays pressed there: try again"
        raise UnreachableError(msg) from error
    _tell(settings, as_json=as_json)


def _press(level: KillLevel, config: Any, *, as_json: bool) -> None:
    from dtms.app.modes.kill_file import write_word
    from dtms.services.wiring import sentinel_of

    settings, person = options.settings_of(config), _person()
    unwritten: SettingsError | None = None
    try:
        write_word(sentinel_of(settings), level, person)  # before the ledger, which may keep us waiting
    except SettingsError as error:
        unwritten = error
    try:
        _with_switch(settings, lambda switch: switch.press(level, person))
    except DtmsError as error:
        if unwritten is not None:
            raise unwritten from error
        say(f"the file says {level}; the ledger cannot be written now ({error}): the gateway takes the file over")
    _tell(settings, as_json=as_json)


def _with_switch(settings: Settings, use: Callable[[KillSwitch], KillState]) -> KillState:
    from dtms.app.modes.kill_switch import KillSwitch
    from dtms.services.host import configure_logs
    from dtms.services.wiring import clock_of, notifier_of, sentinel_of

    configure_logs("kill")
    with own_ledger(settings) as (ledger, _account):
        clock = clock_of(settings)
        notifier = notifier_of(settings, clock)
        try:
            return use(KillSwitch(ledger=ledger, clock=clock, notifier=notifier, sentinel=sentinel_of(settings)))
        finally:
            notifier.close()


def _person() -> str:
    import getpass

    try:
        return f"{getpass.getuser()} (dtms kill)"
    except (OSError, KeyError):  # no name is known for this user
        return "dtms kill"


def _tell(settings: Settings, *, as_json: bool) -> None:
    """Print what the file and the ledger say, and what is open."""
    from dtms.app.modes.kill_file import Unreadable, read_word
    from dtms.services.wiring import sentinel_of

    word = read_word(sentinel_of(settings))
    file = None if word is None else f"unreadable: {word.why}" if isinstance(word, Unreadable) else word.level.value
    told: dict[str, object] = {"file": file, "ledger": None}
    try:
        with own_ledger(settings) as (ledger, account), ledger.read() as tx:
            told |= {"account": account, "ledger": _members(tx)}
    except DtmsError as error:
        say(f"the ledger cannot be read now: {error}")
    if as_json:
        emit(told)
        return
    for each in _lines(told):
        line(each)


def _members(tx: LedgerRead) -> dict[str, object]:
    import msgspec

    from dtms.app.modes.kill_switch import kill_state
    from dtms.services.api.views import kill_answer

    members: dict[str, object] = msgspec.to_builtins(kill_answer(tx, kill_state(tx)))
    return members


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"file: {told['file'] or 'none'}"
    switch = told["ledger"]
    if switch is None:
        return
    if switch["level"] is None:
        yield "ledger: not pressed"
    else:
        yield f"ledger: {switch['level']}, pressed by {switch['by']} ({switch['source']}) at {switch['since']}"
    left = switch["left"]
    foreign = "an unknown number" if left["foreign"] is None else left["foreign"]
    ours = f"{_tickets(left['managed'])} managed, {_tickets(left['unmanaged'])} in dtms's name and not managed"
    yield f"open: {ours}, {foreign} of others"


def _tickets(tickets: list[int]) -> str:
    return f"{len(tickets)} ({', '.join(map(str, tickets))})" if tickets else "0"
