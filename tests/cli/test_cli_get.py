"""`pixelwright data get` as a user meets it."""

from dataclasses import replace

import pytest

from commands import Say
from pixelwright.data.published.catalogue import CATALOGUE, Published


def test_without_a_name_the_sets_are_listed(say: Say) -> None:
    code, out, err = say("data", "get")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2:]] == list(CATALOGUE)


def test_a_set_that_needs_an_account_is_answered_with_steps(say: Say) -> None:
    code, out, err = say("data", "get", "cityscapes")
    assert code == 2
    assert [line[:2] for line in out.splitlines()] == ["1.", "2.", "3.", "4.", "5.", "6."]
    assert "into data/cityscapes/" in out
    assert "5. pixelwright data get cityscapes   (checks them)" in out
    assert len(err.splitlines()) == 1


def test_f56_offline_is_one_line_and_exit_code_3(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = CATALOGUE["cifar100"]
    assert isinstance(entry, Published)
    url = "http://no-such-host.invalid/x.tar.gz"
    away = replace(entry, file=replace(entry.file, urls=(url,)))
    monkeypatch.setitem(CATALOGUE, "cifar100", away)
    code, out, err = say("data", "get", "cifar100")
    assert (code, out) == (3, "")
    assert err.startswith("pixelwright: cifar-100-python.tar.gz cannot be fetched: no-such-host")
    assert len(err.splitlines()) == 1
    assert f"download {url}" in err


def test_a_wrong_name_or_option_is_refused(say: Say) -> None:
    assert "Did you mean 'voc2012'" in say("data", "get", "voc2021")[2]
    assert say("data", "get", "cifar10", "--mirror")[::2] == (
        2,
        "pixelwright: cifar10 has no mirror. Leave out --mirror.\n",
    )
