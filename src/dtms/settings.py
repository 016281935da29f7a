"""The one reader of environment, settings file and policy file. Everything is checked before anything starts.

Order of authority: environment (`DTMS_...`), then the TOML file that `DTMS_CONFIG` or `--config` names, then defaults.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import platformdirs
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_serializer
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from dtms.domain.policy import Policies, Policy, checks
from dtms.domain.policy.exits import ExitPolicy, ExitProfile, profile_from
from dtms.domain.policy.typical import SPREAD_TYPICAL
from dtms.domain.symbols import canonical
from dtms.errors import SettingsError
from dtms.platforms.shell import setting_of

CONFIG_VARIABLE = "DTMS_CONFIG"
LEDGER_FILE = "ledger.sqlite3"
TERMINAL_FILE = "terminal.address"
FORMER_DATA_DIR = Path(".dtms")
"""Where the data folder was until it had one place a user: in the folder of the start."""

_PREFIX = "DTMS_"
SIMULATED_MODULE = "dtms_lab.terminal.module"
"""The stand-in for the MetaTrader5 package."""

_SWITCHES_OF_TESTS = frozenset({"DTMS_EXAMPLES", "DTMS_HANG_S", "DTMS_NO_SHARED", "DTMS_WRITE_DOCS"})
"""They stand in the environment of every process that a test starts, beside `DTMS_TEST_...`; no setting is read from them."""
_LEAST_SPREAD, _WIDEST_SPREAD = 1e-8, 1e6
"""A spread of 0 would let the spread rail pass nothing; eight digits and the dearest coin lie far inside."""


def default_data_dir() -> Path:
    """Return the data folder of an installation that names none: one a user and platform, wherever it is started from."""
    return platformdirs.user_data_path("dtms", appauthor=False)


def _full(path: Path) -> Path:
    """Return a path that means the same in every process, wherever it was started."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        msg = f"{path} begins with the home of nobody here; write the whole path"
        raise ValueError(msg) from error


FullPath = Annotated[Path, AfterValidator(_full)]


class _SettingsFile(TomlConfigSettingsSource):
    """The settings file; a path in it that is not whole begins at the file's own folder, not at that of the start."""

    def __call__(self) -> dict[str, Any]:
        """Return what the file sets."""
        found = super().__call__()
        file = self.toml_file_path
        if not isinstance(file, Path):
            return found
        folder = file.absolute().parent
        given = {name: value for name, value in found.items() if value != ""}  # as an empty variable says nothing
        return {name: self._placed(folder, name, value) for name, value in given.items()}

    def _placed(self, folder: Path, name: str, value: Any) -> Any:
        field = self.settings_cls.model_fields.get(name)
        is_path = field is not None and field.annotation in (Path, FullPath | None)
        return str(folder / Path(value).expanduser()) if is_path and isinstance(value, str) else value


class Settings(BaseSettings):
    """Where things are and what this installation may do; how it trades stands in the policy file.

    Attributes:
        data_dir: Ledger, locks and tokens of this installation; by default the platform's place for a user's data.
        ledger_url: SQLAlchemy URL; by default SQLite in `data_dir`.
        broker: `simulated` or `mt5`; it names the module that the gateway's children import.
        broker_module: The module of `mt5`: the package, or one with its surface.
        terminal_path: Which MetaTrader 5 terminal to attach to, where several are installed; by default the running one.
        armed: Whether dtms may send anything; the simulated account is always armed.
        account: Login that the broker must show; required with `mt5`.
        server_name: Server that the broker must show; required with `mt5`.
        gateway_port, server_port, api_port: Loopback ports of the three services.
        alerts_url: Where alerts go, an Apprise URL.
        policy_file: TOML with the policy.
        news_file: Economic calendar as CSV.
        vix_file: Daily closes of the VIX as CSV, for the exit rule `widening`; read again when it changes.
        terminal_file: Where the simulated terminal writes its address and secret.
        clock_file: Where a tape's clock is told; without it the wall clock is the market's.
        lease_s: On PostgreSQL, how long a silent gateway keeps the right to send, in seconds.
        send_limit_s: After how many seconds a send without an answer counts as unknown.
        crash_point: Crash points at which this installation's processes end, for drills (see `services.armed`).
    """

    model_config = SettingsConfigDict(
        env_prefix="DTMS_", env_ignore_empty=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    data_dir: FullPath = Field(default_factory=default_data_dir)
    ledger_url: SecretStr = SecretStr("")
    broker: Literal["simulated", "mt5"] = "simulated"
    broker_module: str = Field(default="MetaTrader5", pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    terminal_path: str | None = Field(default=None, min_length=1)
    armed: bool = False
    account: int | None = Field(default=None, ge=1)
    server_name: str | None = None
    host: str = "127.0.0.1"
    gateway_port: int = Field(default=8002, ge=1, le=65_535)
    server_port: int = Field(default=8001, ge=1, le=65_535)
    api_port: int = Field(default=8000, ge=1, le=65_535)
    alerts_url: SecretStr | None = None
    policy_file: FullPath | None = None
    news_file: FullPath | None = None
    vix_file: FullPath | None = None
    terminal_file: FullPath | None = None
    clock_file: FullPath | None = None
    crash_point: str = ""
    lease_s: float = Field(default=15.0, ge=0.5, le=600)
    send_limit_s: float = Field(default=10.0, ge=0.1, le=60)
    magic: int = Field(default=20_010_800, ge=1, le=2**31 - 1)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class calls it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment, then the TOML file."""
        return init_settings, env_settings, _SettingsFile(settings_cls)

    @field_serializer("ledger_url")
    def _shown_ledger(self, url: SecretStr) -> str:
        """Show where the ledger is: with a password it would stand in every `config show`."""
        from dtms.adapters.sql.shown import shown_url  # a command that needs no database loads none

        return shown_url(url.get_secret_value()) if url.get_secret_value() else ""

    @property
    def ledger(self) -> str | Path:
        """Return the ledger: the URL where one is set, else its file in the data folder."""
        return self.ledger_url.get_secret_value() or self.data_dir / LEDGER_FILE

    @property
    def token_file(self) -> Path:
        """Return the file of the installation's token."""
        return self.data_dir / "token"

    @property
    def gateway_url(self) -> str:
        """Return the gateway's address."""
        return f"http://{self.host}:{self.gateway_port}"

    @property
    def server_url(self) -> str:
        """Return the DTMS server's address."""
        return f"http://{self.host}:{self.server_port}"

    @property
    def api_url(self) -> str:
        """Return the main API's address."""
        return f"http://{self.host}:{self.api_port}"

    @property
    def module(self) -> str:
        """Return the name of the module through which the broker is reached; nothing else depends on which broker it is."""
        return SIMULATED_MODULE if self.broker == "simulated" else self.broker_module

    @property
    def terminal(self) -> str | None:
        """Return which terminal the module attaches to, None for the one that it finds running."""
        return str(self.address_file) if self.broker == "simulated" else self.terminal_path

    @property
    def address_file(self) -> Path:
        """Return the file with the simulated terminal's address."""
        return self.terminal_file or self.data_dir / TERMINAL_FILE


def load_settings(config: Path | None = None, **given: object) -> Settings:
    """Return the checked settings.

    Raises:
        SettingsError: One sentence for each field that cannot be, or a variable that no setting has; nothing starts.
    """
    _refuse_unknown_variables(os.environ)
    if config is not None and not config.is_file():
        raise SettingsError(f"settings file {config} does not exist; create it or leave --config out")

    class _WithFile(Settings):
        model_config = SettingsConfigDict(toml_file=config)

    try:
        return _WithFile(**given)  # type: ignore[arg-type] # pydantic checks each value
    except ValidationError as error:
        faults = "; ".join(_fault(dict(each)) for each in error.errors())
        raise SettingsError(faults) from error
    except OSError as error:
        raise SettingsError(f"settings file {config} cannot be read: {error.strerror}; correct its rights") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {config} is not TOML: {error}") from error


def unused_folder(settings: Settings) -> str | None:
    """Return what to tell a person of a data folder `.dtms` in the present folder that is not used, None where there is none.

    Until the data folder had one place a user, a start took that of the folder it was started in, and a start from
    elsewhere left the trades that were managed there to themselves.
    """
    former = FORMER_DATA_DIR.absolute()
    if "data_dir" in settings.model_fields_set or not former.is_dir():
        return None
    return (
        f"the data folder is {settings.data_dir}; {former} is not used, and trades that were managed with it are not managed "
        f"now: to go on with it: {setting_of('DTMS_DATA_DIR', str(former))}, else move or remove it"
    )


def require_data_dir(settings: Settings) -> None:
    """Refuse to begin anew beside a ledger of a former start.

    Raises:
        SettingsError: The present folder holds `.dtms` with a ledger, nobody has named a data folder, and its usual place
            holds no ledger: whichever is meant must be said.
    """
    unused = unused_folder(settings)
    if unused is None or settings.ledger_url.get_secret_value() or (settings.data_dir / LEDGER_FILE).exists():
        return
    if (FORMER_DATA_DIR / LEDGER_FILE).exists():
        raise SettingsError(unused)


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """Refuse a name that looks like ours and is none: who sets DTMS_ARMD believes that something is set.

    The value is not repeated, for it may be a secret.
    """
    known = {CONFIG_VARIABLE, *(f"{_PREFIX}{name.upper()}" for name in Settings.model_fields)}
    given = {name for name in environment if name.upper().startswith(_PREFIX)}
    passed = {name for name in given if name in _SWITCHES_OF_TESTS or name.startswith(f"{_PREFIX}TEST_")}
    unknown = sorted(name for name in given - passed if name.upper() not in known)
    if not unknown:
        return
    nearest = difflib.get_close_matches(unknown[0].upper(), known, n=1)
    hint = f"{nearest[0]} may be meant" if nearest else f"known are {', '.join(sorted(known))}"
    raise SettingsError(f"environment variable {unknown[0]} names no setting; {hint}: correct or unset it")


def _fault(error: Mapping[str, Any]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    return f"setting {name}: {error['msg']}; correct it in the environment (DTMS_{name.upper()}) or the settings file"


def load_policy(path: Path | None = None) -> Policies:
    """Return the policy of every symbol: the shipped defaults with what a TOML file changes.

    The file has a table for each part (`[machine]`, `[defence]`, `[rails]`, `[score]`, `[regime]`, `[exits]`,
    `[operation]`) and, for what differs by symbol, `[symbol.XAUUSD.machine]` and so on. `[aliases]` says what a broker's
    symbol is where its name does not: `SPOTGOLD = "XAUUSD"`.

    Raises:
        SettingsError: A key is unknown, a value has the wrong type, unit or range, thresholds are out of order.
    """
    document = {} if path is None else _read_toml(path)
    by_symbol, aliases = document.pop("symbol", {}), _aliases(document.pop("aliases", {}))
    if not isinstance(by_symbol, dict):
        raise SettingsError("policy symbol must be a table of symbols, [symbol.XAUUSD.machine] for example")
    default = _policy(document, Policy(), "")
    names = sorted({*SPREAD_TYPICAL, *by_symbol})
    book = {name: _symbol_policy(name, by_symbol.get(name, {}), default) for name in names}
    stamped = {name: _stamped(policy) for name, policy in book.items()}
    return Policies(default=_stamped(default), by_symbol=stamped, aliases=aliases)


def _aliases(given: object) -> dict[str, str]:
    """Return the aliases, each of which must lead to a name that policies know."""
    if not isinstance(given, dict):
        raise SettingsError('policy aliases must be a table of names, SPOTGOLD = "XAUUSD" for example')
    for name, meant in given.items():
        if not isinstance(meant, str) or not meant or canonical(meant) != meant:
            spelling = f"; it is spelled {canonical(meant)} here" if isinstance(meant, str) and meant else ""
            raise SettingsError(
                f"policy aliases.{name} is {meant!r}, which is no symbol's name in our spelling{spelling}"
            )
    return given


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"policy file {path} cannot be read: {error.strerror}; name another") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"policy file {path} is not TOML: {error}") from error


def _symbol_policy(name: str, changes: object, default: Policy) -> Policy:
    typical = SPREAD_TYPICAL.get(name) if default.spread_typical is None else default.spread_typical
    base = replace(default, spread_typical=typical)
    if not isinstance(changes, dict):
        raise SettingsError(f"policy symbol.{name} must be a table")
    if canonical(name) != name:
        raise SettingsError(
            f"policy symbol.{name} would never be used; symbols have one spelling here: {canonical(name)}"
        )
    return _policy(changes, base, f"symbol.{name}.")


def _policy(document: Mapping[str, Any], base: Policy, where: str) -> Policy:
    known = {each.name for each in fields(Policy)} - {"digest"}
    _refuse_unknown(document, known, where)
    changes: dict[str, object] = {}
    for name, value in document.items():
        present = getattr(base, name)
        if name == "spread_typical":
            spread = _number(f"{where}{name}", value)
            checks.number(f"{where}{name}", spread, _LEAST_SPREAD, _WIDEST_SPREAD, "price units")
            changes[name] = spread
        else:
            changes[name] = _section(present, value, f"{where}{name}")
    return replace(base, **changes)  # type: ignore[arg-type] # each was made from its own section


def _section(present: object, given: object, where: str) -> object:
    """Return a section with its changes; its own constructor checks ranges."""
    if not isinstance(given, dict) or not is_dataclass(present):
        raise SettingsError(f"policy {where} must be a table")
    _refuse_unknown(given, {each.name for each in fields(present)}, f"{where}.")
    hints = get_type_hints(type(present))
    changes = {
        name: _value(getattr(present, name), value, hints[name], f"{where}.{name}", present)
        for name, value in given.items()
    }
    return replace(present, **changes)  # type: ignore[type-var]


def _value(present: object, given: object, kind: object, where: str, owner: object) -> object:
    if where.endswith("exits.profiles") and isinstance(owner, ExitPolicy):
        return _profiles(owner, given, where)
    if is_dataclass(present):
        return _section(present, given, where)
    if isinstance(present, bool):
        if not isinstance(given, bool):
            raise SettingsError(f"policy {where} is {given!r}; set it to true or false")
        return given
    if isinstance(present, tuple):
        if not isinstance(given, dict):
            raise SettingsError(f"policy {where} must be a table of names and numbers")
        pairs = {**dict(present), **{name: _number(f"{where}.{name}", value) for name, value in given.items()}}
        return tuple(pairs.items())
    if isinstance(present, str):
        if not isinstance(given, str):
            raise SettingsError(f"policy {where} is {given!r}; it must be a word in quotes")
        return given
    number = _number(where, given)
    if isinstance(present, int) and kind is int:
        if number != int(number):
            raise SettingsError(f"policy {where} is {given!r}; it must be a whole number")
        return int(number)
    return number


def _profiles(owner: ExitPolicy, given: object, where: str) -> tuple[tuple[str, ExitProfile], ...]:
    if not isinstance(given, dict):
        raise SettingsError(f"policy {where} must be a table of profiles")
    present = dict(owner.profiles)
    for name, numbers in given.items():
        if not isinstance(numbers, dict):
            raise SettingsError(f"policy {where}.{name} must be a table of numbers")
        present[name] = profile_from(numbers, present.get(name, present[owner.default_profile]))
    return tuple(present.items())


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SettingsError(f"policy {where} is {value!r}; it must be a plain number, without a unit")
    return value


def _refuse_unknown(given: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingsError(f"policy has no {where}{unknown[0]}; known here are {', '.join(sorted(known))}")


def _stamped(policy: Policy) -> Policy:
    """Return the policy with the digest of its numbers."""
    numbers = json.dumps(asdict(replace(policy, digest="")), sort_keys=True, default=str)
    return replace(policy, digest=hashlib.sha256(numbers.encode()).hexdigest()[:16])
