"""The cost estimate follows the deployment that it is made from."""

from __future__ import annotations

import json

import pytest

from assistant.dev import cli
from infra.costs import PRICES, Use, estimate
from infra.deployment import Deployment


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert cli.main(["cost", "--json", *arguments]) == 0
    result: dict[str, object] = json.loads(capsys.readouterr().out)
    return result


def test_the_month_is_the_sum_of_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, "--messages", "250000")
    lines = result["lines"]
    assert isinstance(lines, list)
    assert result["month"] == pytest.approx(sum(line["dollars"] for line in lines), abs=0.01)


def test_twice_the_messages_cost_twice_and_standing_costs_stay() -> None:
    deployment = Deployment()
    one, two = (estimate(deployment, Use(messages=n)) for n in (1000, 2000))
    assert sum(x.dollars for x in two if x.per_message) == pytest.approx(2 * sum(x.dollars for x in one if x.per_message))
    assert [x for x in one if not x.per_message] == [x for x in two if not x.per_message]


def test_what_is_switched_on_is_in_the_estimate() -> None:
    small = {x.item for x in estimate(Deployment.of({"profile": "basic"}, env={}), Use())}
    large = {x.item for x in estimate(Deployment.of({"profile": "enterprise"}, env={}), Use())}
    assert {"warm copies", "fixed addresses", "firewall"} <= large - small
    assert "snapshots" in small - large


def test_a_model_with_a_price_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    plain = run(capsys)
    paid = run(capsys, "--prompt-price", "1", "--completion-price", "4", "--prompt-tokens", "1000", "--completion-tokens", "250")
    assert float(str(paid["million_messages"])) - float(str(plain["million_messages"])) == pytest.approx(2000, abs=0.02)


def test_a_model_endpoint_is_never_left_out_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = ["-c", "gpu_profile=48gb-small", "-c", "gpu_copies_min=2"]
    assert cli.main(["cost", *endpoint]) == 2
    assert "--gpu-hour" in capsys.readouterr().err
    dearer = float(str(run(capsys, *endpoint, "--gpu-hour", "3")["fixed"])) - float(str(run(capsys)["fixed"]))
    assert dearer == pytest.approx(2 * 730 * 3, abs=0.02)


def test_every_price_names_its_page() -> None:
    assert all(price.source.startswith("https://aws.amazon.com/") and price.dollars > 0 for price in PRICES.values())


@pytest.mark.parametrize("wrong", [["--profile", "huge"], ["-c", "vpc"], ["-c", "vpc=perhaps"], ["--messages", "-1"]])
def test_a_wrong_value_is_one_line_and_exit_status_two(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", *wrong]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert wrong[-1].split("=")[-1] in said
