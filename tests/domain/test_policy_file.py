"""The policy file and the settings: what cannot be is refused before anything starts, in one sentence with the remedy."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from dtms.domain.policy import DefencePolicy, MachinePolicy, OperationPolicy, Policies, Policy, RailsPolicy
from dtms.domain.policy.typical import SPREAD_TYPICAL
from dtms.errors import SettingsError
from dtms.settings import Settings, load_policy, load_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


def load(file: Path, text: str) -> Policies:
    file.write_text(text, encoding="utf-8")
    return load_policy(file)


def refusal(file: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(file, text)
    return str(caught.value)


def test_without_a_file_the_shipped_numbers_hold() -> None:
    book = load_policy()
    assert replace(book.default, digest="") == Policy()
    assert set(book.by_symbol) == set(SPREAD_TYPICAL)
    assert book.of("NOSUCH") is book.default
    assert {name: policy.spread_typical for name, policy in book.by_symbol.items()} == SPREAD_TYPICAL


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[machine]\nl1_scor = -2", "policy has no machine.l1_scor; known here are before_close_minutes, "),
        ("[machina]\nl1_score = -2", "policy has no machina; known here are defence, exits, machine, "),
        ("[symbol.XAUUSD.machine]\nl1 = -2", "policy has no symbol.XAUUSD.machine.l1; known here are "),
        ("[symbol.XAUUSD]\nl1_score = -2", "policy has no symbol.XAUUSD.l1_score; known here are "),
        ("digest = 'abc'", "policy has no digest; known here are "),
        ("[exits.session_factors]\nasia = 1.2", "policy has no exits.session_factors.asia; known here are asian, "),
        ("[score]\nvwap = 1.0", "policy has no score.vwap; known here are "),
    ],
)
def test_an_unknown_key_is_named_with_those_that_there_are(file: Path, text: str, sentence: str) -> None:
    assert refusal(file, text).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[symbol.eurusd.machine]\nl1_score = -1", "policy symbol.eurusd would never be used; "),
        ("[symbol.EURUSDc]\nspread_typical = 0.1", "policy symbol.EURUSDc would never be used; "),
        ("[symbol.GOLD]\nspread_typical = 0.1", "policy symbol.GOLD would never be used; "),
        ("[exits.trail_by_currency]\neur = 1.2", "policy exits.trail_by_currency.eur would never be used; "),
        (
            "[regime.base_by_symbol]\nGOLD = 0.001",
            "policy regime.base_by_symbol.GOLD would never be used; write XAUUSD",
        ),
    ],
)
def test_a_key_that_would_never_be_used_is_refused_with_the_one_that_would(
    file: Path, text: str, sentence: str
) -> None:
    assert refusal(file, text).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[rails]\nday_loss = '2%'", "policy rails.day_loss is '2%'; it must be a plain number, without a unit"),
        (
            "[machine]\ngrace_s = '15 min'",
            "policy machine.grace_s is '15 min'; it must be a plain number, without a unit",
        ),
        ("[machine]\nl1_score = '-2'", "policy machine.l1_score is '-2'; it must be a plain number, without a unit"),
        ("[machine]\nl1_score = true", "policy machine.l1_score is True; it must be a plain number, without a unit"),
        ("[machine]\nl1_score = [1]", "policy machine.l1_score is [1]; it must be a plain number, without a unit"),
        ("[machine]\nrunning_bars = 2.5", "policy machine.running_bars is 2.5; it must be a whole number"),
        ("[rails]\nenabled = 'yes'", "policy rails.enabled is 'yes'; set it to true or false"),
        ("[rails]\nenabled = 1", "policy rails.enabled is 1; set it to true or false"),
        ("[defence]\nre_add = true", "policy defence.re_add is True; it must be a word in quotes"),
        ("[defence]\nsmall_lot = 3", "policy defence.small_lot is 3; it must be a word in quotes"),
        ("machine = 3", "policy machine must be a table"),
        ("symbol = 3", "policy symbol must be a table of symbols, [symbol.XAUUSD.machine] for example"),
        ("[symbol]\nXAUUSD = 3", "policy symbol.XAUUSD must be a table"),
        ("[exits]\ntrail_by_currency = 3", "policy exits.trail_by_currency must be a table of names and numbers"),
        ("[exits]\nprofiles = 3", "policy exits.profiles must be a table of profiles"),
        ("[exits.profiles]\nmine = 3", "policy exits.profiles.mine must be a table of numbers"),
        ("spread_typical = '0.2'", "policy spread_typical is '0.2'; it must be a plain number, without a unit"),
    ],
)
def test_a_value_of_the_wrong_type_or_with_a_unit_says_what_it_must_be(file: Path, text: str, sentence: str) -> None:
    assert refusal(file, text) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[rails]\nday_loss = 2", "policy rails.day_loss is 2; set it between 0.0001 and 1 of equity"),
        ("[machine]\nl1_score = 2", "policy machine.l1_score is 2; set it between -10.5 and 0 points"),
        ("[machine]\nl1_score = nan", "policy machine.l1_score is nan; set it between -10.5 and 0 points"),
        ("[machine]\nl2_minutes = inf", "policy machine.l2_minutes is inf; set it between 1 and 10080 min"),
        (
            "[defence]\npartial_share = 50",
            "policy defence.partial_share is 50; set it between 0.05 and 0.95 of the volume",
        ),
        ("[defence]\ndefence = 'Hedge'", "policy defence.defence is 'Hedge'; choose one of hedge, reduce"),
        (
            "[defence]\nby_hand = 'ignore'",
            "policy defence.by_hand is 'ignore'; choose one of yield, floor, reassert, ask",
        ),
        ("[rails]\nstale_min_s = 90", "policy rails.stale_max_s is 60.0; set it between 90 and 3600 s"),
        ("[operation]\nsettle_s = 100", "policy operation.quarantine_s is 60.0; set it between 100 and 3600 s"),
        ("spread_typical = 0", "policy spread_typical is 0; set it between 1e-08 and 1e+06 price units"),
        ("spread_typical = nan", "policy spread_typical is nan; set it between 1e-08 and 1e+06 price units"),
        (
            "[symbol.XAUUSD]\nspread_typical = -1",
            "policy symbol.XAUUSD.spread_typical is -1; set it between 1e-08 and 1e+06 price units",
        ),
        (
            "[exits.trail_by_currency]\nEUR = 50",
            "policy exits.trail_by_currency.EUR is 50; set it between 0.1 and 20 ATR",
        ),
    ],
)
def test_a_value_out_of_range_says_the_range(file: Path, text: str, sentence: str) -> None:
    assert refusal(file, text) == sentence


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("l1_score = -4\nl2_score = -2", "hedge_score, l2_score, l1_score, healthy_score"),
        ("l2_score = -6\nhedge_score = -6", "hedge_score, l2_score, l1_score, healthy_score"),
        ("l2_score = -4\nl2_release_score = -4", "l2_score, l2_release_score"),
        ("recover_score = 1", "hedge_score, recover_score, confirm_score"),
        ("healthy_score = -2", "hedge_score, l2_score, l1_score, healthy_score"),
    ],
)
def test_thresholds_in_the_wrong_order_are_named_with_their_values(file: Path, text: str, names: str) -> None:
    sentence = refusal(file, f"[machine]\n{text}")
    assert sentence.startswith(f"policy machine.{names} are (")
    assert sentence.endswith("they must rise strictly in this order")


def test_what_is_no_toml_or_no_file_is_said(file: Path, tmp_path: Path) -> None:
    assert refusal(file, "l1_score ==").startswith(f"policy file {file} is not TOML: ")
    with pytest.raises(SettingsError, match=r"cannot be read: .*; name another"):
        load_policy(tmp_path / "none.toml")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not TOML"):
        load_policy(file)


# ----- symbols


def test_a_symbols_own_numbers_change_that_symbol_and_what_they_do_not_name_is_the_files(file: Path) -> None:
    book = load(
        file,
        "[machine]\nl1_score = -2.5\n[symbol.XAUUSD.machine]\nl2_score = -4.5\n[symbol.XAUUSD]\nspread_typical = 0.4\n",
    )
    gold, euro, default = book.of("XAUUSD"), book.of("EURUSD"), book.default
    assert (gold.machine.l1_score, gold.machine.l2_score, gold.spread_typical) == (-2.5, -4.5, 0.4)
    assert (euro.machine.l1_score, euro.machine.l2_score, euro.spread_typical) == (-2.5, -4.0, SPREAD_TYPICAL["EURUSD"])
    assert (default.machine.l1_score, default.spread_typical) == (-2.5, None)


def test_a_spread_for_all_symbols_beats_the_table_of_typical_ones(file: Path) -> None:
    book = load(file, "spread_typical = 0.5\n[symbol.EURUSD]\nspread_typical = 0.0002\n")
    assert (book.of("XAUUSD").spread_typical, book.of("EURUSD").spread_typical) == (0.5, 0.0002)
    assert book.of("NOSUCH").spread_typical == 0.5


def test_a_symbol_that_is_not_in_the_table_can_have_its_own_numbers(file: Path) -> None:
    book = load(file, "[symbol.NAS100.defence]\ndefence = 'reduce'\n")
    assert (book.of("NAS100").defence.defence, book.default.defence.defence) == ("reduce", "hedge")


def test_a_symbols_thresholds_are_checked_with_those_that_it_inherits(file: Path) -> None:
    text = "[machine]\nl2_score = -3\nl1_score = -2.5\n[symbol.XAUUSD.machine]\nl1_score = -3.5\n"
    assert refusal(file, text).startswith(
        "policy machine.hedge_score, l2_score, l1_score, healthy_score are (-6.0, -3, "
    )


def test_profiles_are_added_and_shipped_ones_changed_without_losing_the_rest(file: Path) -> None:
    book = load(
        file,
        "[exits]\ndefault_profile = 'mine'\n[exits.profiles.mine]\nbreakeven_r = 2\n[exits.profiles.scalp]\npartial_r = 3\n",
    )
    exits = book.default.exits
    assert exits.default_profile == "mine"
    assert (exits.profile("mine").breakeven_r, exits.profile("mine").partial_r) == (2, 2.0)
    assert (exits.profile("scalp").breakeven_r, exits.profile("scalp").partial_r) == (0.75, 3)
    assert set(exits.names) == {"intraday", "scalp", "swing", "classic", "mine"}


# ----- digest


def test_the_digest_names_the_numbers(file: Path) -> None:
    shipped, same = load_policy(), load(file, "[machine]\nl1_score = -2.0\n")
    assert shipped.default.digest == same.default.digest
    other = load(file, "[machine]\nl1_score = -2.25\n")
    assert other.default.digest != shipped.default.digest
    assert other.of("XAUUSD").digest != shipped.of("XAUUSD").digest
    assert len({policy.digest for policy in shipped.by_symbol.values()}) == len(shipped.by_symbol)


def test_a_symbols_change_changes_that_symbols_digest_alone(file: Path) -> None:
    shipped, changed = load_policy(), load(file, "[symbol.XAUUSD.rails]\nlosing_trades = 4\n")
    different = {name for name in shipped.by_symbol if shipped.of(name).digest != changed.of(name).digest}
    assert different == {"XAUUSD"}
    assert changed.default.digest == shipped.default.digest


@pytest.mark.parametrize("section", ["machine", "defence", "rails", "operation"])
def test_every_number_of_these_sections_is_in_the_digest(file: Path, section: str) -> None:
    """Each tunable is changed alone, a little, and the digest tells: none is read and then forgotten."""
    shipped = load_policy().default.digest
    present: Any = getattr(Policy(), section)
    for each in fields(present):
        value = getattr(present, each.name)
        if isinstance(value, bool | str):
            continue
        nudged = value - 1 if isinstance(value, int) else value * 1.01 + 0.001 * (value == 0)
        book = load(file, f"[{section}]\n{each.name} = {nudged}\n")
        assert getattr(getattr(book.default, section), each.name) == nudged
        assert book.default.digest != shipped


# ----- constructors say the same


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (MachinePolicy, {"l1_score": 1.0}),
        (MachinePolicy, {"grace_r": 0.5}),
        (DefencePolicy, {"hedge_share": 1.0}),
        (RailsPolicy, {"day_loss": float("nan")}),
        (OperationPolicy, {"settle_s": 0.0}),
        (OperationPolicy, {"dtms_unreachable": "sticky"}),
    ],
)
def test_a_policy_that_cannot_be_is_not_built_either(kind: type, changes: dict[str, Any]) -> None:
    name = next(iter(changes))
    with pytest.raises(SettingsError, match=name):
        kind(**changes)


# ----- settings


def test_settings_come_from_arguments_then_environment_then_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "dtms.toml"
    config.write_text("gateway_port = 9001\nserver_port = 9002\napi_port = 9003\n", encoding="utf-8")
    monkeypatch.setenv("DTMS_SERVER_PORT", "9102")
    monkeypatch.setenv("DTMS_API_PORT", "9103")
    found = load_settings(config, api_port=9203)
    assert (found.gateway_port, found.server_port, found.api_port) == (9001, 9102, 9203)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gateway_prt = 9001", "setting gateway_prt: "),
        ("armed = 'perhaps'", "setting armed: "),
        ("gateway_port = 70000", "setting gateway_port: "),
        ("broker = 'mt4'", "setting broker: "),
        ("account = 0", "setting account: "),
    ],
)
def test_a_setting_that_cannot_be_names_itself_and_where_to_correct_it(
    tmp_path: Path, text: str, sentence: str
) -> None:
    config = tmp_path / "dtms.toml"
    config.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings(config)
    name = sentence.removeprefix("setting ").removesuffix(": ")
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).endswith(f"correct it in the environment (DTMS_{name.upper()}) or the settings file")


def test_every_fault_of_the_settings_is_said_at_once(tmp_path: Path) -> None:
    config = tmp_path / "dtms.toml"
    config.write_text("gateway_port = 0\nbroker = 'mt4'\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"setting broker: .*; setting gateway_port: "):
        load_settings(config)


def test_a_settings_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist; create it or leave --config out"):
        load_settings(tmp_path / "none.toml")


def test_nothing_is_armed_unless_somebody_says_so() -> None:
    assert Settings.model_fields["armed"].default is False
    assert Settings.model_fields["broker"].default == "simulated"


def test_an_alert_address_is_not_printed(tmp_path: Path) -> None:
    found = load_settings(None, alerts_url="tgram://canary-secret/1")
    assert "canary-secret" not in repr(found)
    assert "canary-secret" not in str(found)
