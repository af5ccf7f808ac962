"""The platform's directory becomes part of the graph: who leads which department, and what belongs to what."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.dev.emulator import Emulator
from assistant.knowledge.service import answer
from assistant.llm.builtin import BuiltinModel
from tests.integration.test_listeners import vendor_of
from tests.simulators.stages import STAGES, Stage
from tests.support.house import House

EVERYONE = frozenset({"everyone"})


def company(stage: Stage, *, leader: str = "ou_lei") -> None:
    """Design, led by Li Lei, is a part of Products."""
    vendor = vendor_of(stage)
    match stage.name:
        case "feishu":
            vendor.scopes |= {"contact:contact.base:readonly"}
            vendor.names = {"ou_lei": "Li Lei", "ou_mei": "Han Meimei"}
            vendor.directory = [
                {"open_department_id": "od-p", "name": "Products", "parent_department_id": "0", "leader_user_id": ""},
                {"open_department_id": "od-d", "name": "Design", "parent_department_id": "od-p", "leader_user_id": leader},
                *({"open_department_id": f"od-{n}", "name": f"Team {n}", "parent_department_id": "0"} for n in range(60)),
            ]
        case "dingtalk":
            vendor.directory = {2: ("Products", 1, []), 3: ("Design", 2, ["lei"])}
        case "wecom":
            vendor.directory = [
                {"id": 1, "name": "Acme", "parentid": 0, "department_leader": []},
                {"id": 2, "name": "Products", "parentid": 1, "department_leader": []},
                {"id": 3, "name": "Design", "parentid": 2, "department_leader": ["wang"]},
            ]


def house_of(stage: Stage, aws: Emulator, folder: Path) -> House:
    return House(aws, secrets={stage.name: stage.secrets}, model=BuiltinModel(), knowledge_folder=str(folder))


@pytest.mark.parametrize(("name", "leader"), [("feishu", "Li Lei"), ("dingtalk", "Name of lei"), ("wecom", "wang")])
def test_who_leads_a_department_is_answered_out_of_the_directory(aws: Emulator, guides: Path, name: str, leader: str) -> None:
    stage = STAGES[name]()
    stage.start()
    try:
        company(stage)
        house = house_of(stage, aws, guides)
        status, said = answer(
            house.assistant.knowledge_service, "POST", "graph/directory", {}, f'{{"platform": "{name}"}}'.encode()
        )
        assert (status, said["departments"] >= 2) == (200, True), said
        house.say("Who leads Design?")
        house.drain()
        assert leader in house.turns()[-1]["text"]
        house.say("What is Design part of?")
        house.drain()
        assert "Products" in house.turns()[-1]["text"]
    finally:
        stage.stop()


def test_what_changed_in_the_directory_replaces_what_it_said_and_nothing_else(aws: Emulator, guides: Path) -> None:
    stage = STAGES["feishu"]()
    stage.start()
    try:
        company(stage)
        service = house_of(stage, aws, guides).assistant.knowledge_service
        service.load_graph("hand.csv", b"subject,relation,object\nZhang San,owns,Design\n")
        assert service.load_directory("feishu")["relations"] == 2
        assert service.load_directory("feishu") == {"departments": 62, "entities": 0, "relations": 0}
        company(stage, leader="ou_mei")
        service.load_directory("feishu")
        edges = {(e["subject"], e["kind"], e["object"]) for e in service.walk("design", audience=EVERYONE)["edges"]}
        assert edges == {("han-meimei", "leads", "design"), ("zhang-san", "owns", "design"), ("design", "part_of", "product")}
    finally:
        stage.stop()


@pytest.mark.parametrize("name", ["slack", "nonsense"])
def test_a_platform_without_a_directory_says_so(aws: Emulator, guides: Path, name: str) -> None:
    stage = STAGES["slack"]()
    stage.start()
    try:
        service = house_of(stage, aws, guides).assistant.knowledge_service
        status, said = answer(service, "POST", "graph/directory", {}, f'{{"platform": "{name}"}}'.encode())
        assert status in (400, 404)
        assert name in said["error"]
    finally:
        stage.stop()
