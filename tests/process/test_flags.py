"""Flags made from a config's fields: what each kind of field takes, and that none is forgotten."""

from dataclasses import dataclass

import pytest

from process.flag_parser import FlagParser
from process.flags import REQUIRED, Group, add_flags, config_from, setting


@dataclass(frozen=True, kw_only=True)
class Config:
    folder: str = setting(REQUIRED, "where it goes", "DIR")
    names: tuple[str, ...] = setting((), "who they are", "NAME", nargs="+")
    mode: str = setting("plain", "in which way")
    size: int | None = setting(None, "how large")
    share: float = setting(0.5, "how much")
    quick: bool = setting(False, "do less", nargs=0)
    loud: bool = setting(True, "say more")


GROUPS = (
    Group("what", ("folder", "names"), "All of it."),
    Group("how", ("mode", "size", "share", "quick", "loud")),
)


def parser(config=Config, groups=GROUPS):
    made = FlagParser(prog="x")
    add_flags(made, config, groups, choices={"mode": ("plain", "fine")}, paths=("folder",))
    return made


def parsed(*words):
    return vars(parser().parse_args(words))


def test_only_what_was_given_is_there_and_becomes_the_config():
    assert parsed("--folder", "a") == {"folder": "a"}
    given = parsed("--folder", "a", "--names", "b", "c", "--size", "3", "--quick", "--no-loud")
    assert given == {"folder": "a", "names": ["b", "c"], "size": 3, "quick": True, "loud": False}
    config = config_from(Config, given)
    assert config == Config(folder="a", names=("b", "c"), size=3, quick=True, loud=False)
    assert (config.mode, config.share) == ("plain", 0.5)


def test_help_shows_groups_what_is_taken_and_defaults():
    text = " ".join(parser().format_help().split())
    assert text.startswith("usage: x --folder DIR [flags]")
    assert "what: All of it. --folder DIR where it goes --names NAME [NAME ...]" in text
    assert "--mode plain|fine in which way (default: plain)" in text
    assert "--size N how large --share X how much (default: 0.5) --quick do less --loud" in text
    assert "say more (default: on)" in text


def test_paths_begin_at_home_and_nothing_else_does(monkeypatch):
    monkeypatch.setenv("HOME", "/of/somebody")
    given = parsed("--folder", "~/a", "--mode", "~/b")
    assert given == {"folder": "/of/somebody/a", "mode": "~/b"}


def test_what_has_to_be_given_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        parsed("--size", "3")
    assert "--folder" in capsys.readouterr().err


def test_a_field_that_no_group_holds_is_noticed():
    with pytest.raises(AssertionError, match="no group holds mode, size, share, quick, loud"):
        parser(groups=GROUPS[:1])


def test_without_groups_values_may_stand_by_their_place():
    @dataclass(frozen=True)
    class Pair:
        first: str = setting(REQUIRED, "one", "ONE", positional=True)
        second: str = setting(REQUIRED, "other", "OTHER", positional=True)

    assert vars(parser(Pair, ()).parse_args(["a", "b"])) == {"first": "a", "second": "b"}
