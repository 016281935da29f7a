"""The stand-in for the MetaTrader5 package: found by name, and it finds its terminal as the package does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.terminal.test_remote import Host

from dtms.adapters.clocks import SystemClock
from dtms.domain.position import AccountKind
from dtms.domain.units import Millis
from dtms.errors import BrokerUnavailableError, SettingsError
from dtms.services.broker_child import find_module, link_to
from dtms.services.gateway.way import way_of
from dtms.settings import SIMULATED_MODULE, load_settings
from dtms_lab.mt5_constants import Mt5
from dtms_lab.terminal.desk import MONDAY_NOON, SimDesk
from dtms_lab.terminal.module import FILE_VARIABLE
from dtms_lab.terminal.named import named
from dtms_lab.terminal.records import AccountSpec


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "t.address")
    yield made
    made.stop()


@pytest.fixture
def module() -> Iterator[Any]:
    found = find_module(SIMULATED_MODULE)
    yield found
    found.shutdown()


def test_the_modules_name_is_all_that_differs_between_two_brokers() -> None:
    simulated, real = load_settings(), load_settings(broker="mt5", broker_module="a.forwarder")

    assert (simulated.module, real.module) == (SIMULATED_MODULE, "a.forwarder")
    assert load_settings(broker="mt5").module == "MetaTrader5"


@pytest.mark.parametrize("name", ["", "MetaTrader5;rm", "a..b", "/evil", "1a"])
def test_what_is_no_modules_name_is_refused_before_anything_starts(name: str) -> None:
    with pytest.raises(SettingsError, match="setting broker_module"):
        load_settings(broker_module=name)


def test_a_terminal_is_found_by_the_path_that_initialize_is_given(host: Host, module: Any) -> None:
    assert module.initialize(str(host.path))
    assert module.terminal_info().name == "DTMS Simulated Terminal"
    assert module.account_info().login == 10_000_042
    assert module.ORDER_TYPE_SELL == Mt5.ORDER_TYPE_SELL


def test_without_a_path_the_terminal_is_the_one_that_the_environment_names(
    host: Host, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(host.path))

    assert module.initialize()
    assert module.symbols_total() > 0


def test_without_any_terminal_initialize_fails_as_the_packages_does(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FILE_VARIABLE, raising=False)

    assert module.initialize() is False
    assert module.last_error() == (Mt5.RES_E_INTERNAL_FAIL_INIT, "IPC initialize failed")
    assert module.positions_get() is None


def test_a_name_that_the_package_does_not_have_is_an_attribute_error(module: Any) -> None:
    with pytest.raises(AttributeError, match="no attribute 'positions_got'"):
        _ = module.positions_got


@pytest.mark.usefixtures("module")
def test_the_accounts_kind_is_what_the_module_says(host: Host) -> None:
    link = link_to(
        SIMULATED_MODULE, account=None, server=None, magic=7, clock=lambda: Millis(host.start), path=str(host.path)
    )

    assert link.connect().kind is AccountKind.SIMULATED


@pytest.mark.usefixtures("module")
def test_a_terminal_that_is_not_there_is_unavailable_and_nothing_was_sent(tmp_path: Path) -> None:
    link = link_to(
        SIMULATED_MODULE,
        account=None,
        server=None,
        magic=7,
        clock=lambda: Millis(0),
        path=str(tmp_path / "nobody.address"),
    )

    with pytest.raises(BrokerUnavailableError, match="IPC initialize failed"):
        link.connect()


def test_terminals_in_one_process_are_found_by_a_name_each_and_only_while_they_are_named() -> None:
    first, second = SimDesk(start=MONDAY_NOON), SimDesk(account=AccountSpec(login=7))
    links = []
    for desk in (first, second):
        with named(desk.terminal) as name:
            links.append(link_to(name, account=None, server=None, magic=7, clock=lambda: MONDAY_NOON))

    assert [link.connect().login for link in links] == [10_000_042, 7]
    with pytest.raises(SettingsError, match="cannot be imported"):
        find_module(name)


def test_a_package_that_is_not_installed_is_one_sentence_with_the_remedy() -> None:
    with pytest.raises(SettingsError, match=r"'MetaTrader5' cannot be imported .* install dtms\[mt5\] there"):
        find_module("MetaTrader5")


def test_what_the_policy_calls_a_symbol_reaches_the_children(host: Host, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[aliases]\nEURUSD = "XAUUSD"\n', encoding="utf-8")
    settings = load_settings(data_dir=tmp_path / "data", terminal_file=host.path, policy_file=policy)
    way = way_of(settings, SystemClock())
    try:
        way.connect()
        found = way.served.instrument("EURUSD")
    finally:
        way.close()

    assert (found.symbol, found.canonical) == ("EURUSD", "XAUUSD")
