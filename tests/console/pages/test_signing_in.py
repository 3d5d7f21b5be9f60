"""Who comes in, how often somebody may try, and what the cookie is worth."""

from __future__ import annotations

import re

import httpx
import sqlalchemy as sa
from a_console import OPERATOR, PASSWORD, READER, TOKEN, USERS, Console, Person, console

from console.pages.attempts import OF_A_NAME, OF_AN_ADDRESS
from freshness.passwords import hashed

PAGES = (
    "/",
    "/receipts",
    "/refused",
    "/files",
    "/files/R000001",
    "/queues",
    "/queues/redrive",
    "/actions",
    "/search?q=R",
)


def test_without_people_the_console_is_not_there(engine: sa.Engine, environment: dict[str, str]) -> None:
    with console(engine, environment) as closed:
        for path in ("/console", "/console/", "/console/sign-in", "/console/static/console.css"):
            assert closed.nobody().web.get(path).status_code == 404


def test_every_page_sends_whoever_is_not_signed_in_to_the_door(web: Console) -> None:
    nobody = web.nobody()
    for path in PAGES:
        answer = nobody.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/console/sign-in?next=")


def test_who_signs_in_comes_to_the_page_that_was_asked_for(web: Console) -> None:
    nobody = web.nobody()
    door = nobody.get("/receipts?outcome=held").headers["location"]
    token = TOKEN.findall(nobody.web.get(door).text)[0]
    fields = {
        "name": READER,
        "password": PASSWORD,
        "token": token,
        "next": "/console/receipts?outcome=held",
    }
    answer = nobody.web.post("/console/sign-in", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/receipts?outcome=held")
    assert nobody.get("/receipts").status_code == 200


def test_a_form_sent_after_the_session_has_ended_leads_to_the_door_and_back_to_its_page(web: Console) -> None:
    page = f"{web.url}/console/receipts/replay?search=R000001&span=24h"
    answer = web.nobody().web.post("/console/receipts/replay", headers={"Referer": page})
    assert answer.status_code == 303
    door = httpx.URL(answer.headers["location"])
    assert (door.path, door.params["next"]) == (
        "/console/sign-in",
        "/console/receipts/replay?search=R000001&span=24h",
    )


def test_a_part_of_a_page_sends_its_whole_page_to_the_door_and_back(web: Console) -> None:
    page = f"{web.url}/console/files/R000001?x=1"
    for method, path in (("GET", "/console/files/R000001"), ("POST", "/console/receipts/1.1/replay")):
        headers = {"HX-Request": "true", "HX-Current-URL": page}
        answer = web.nobody().web.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert httpx.URL(answer.headers["hx-redirect"]).params["next"] == "/console/files/R000001?x=1"


def test_a_way_back_that_is_none_of_ours_is_left_out(web: Console) -> None:
    for way in ("https://elsewhere.example/", "http://[", ""):
        answer = web.nobody().web.post("/console/refresh/R000001", headers={"Referer": way})
        assert answer.headers["location"] == "/console/sign-in"


def test_a_wrong_password_does_not_lose_the_way_back(web: Console) -> None:
    nobody = web.nobody()
    way = "/console/receipts?outcome=held"
    door = nobody.web.get("/console/sign-in", params={"next": way})
    for password in ("wrong", PASSWORD):
        fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', door.text))
        door = nobody.web.post("/console/sign-in", data={**fields, "name": READER, "password": password})
    assert (door.status_code, door.headers["location"]) == (303, way)


def test_the_door_leads_to_no_other_site(web: Console) -> None:
    for way in (
        "https://elsewhere.example/console/",
        "//elsewhere.example/console/",
        "/\\elsewhere.example",
        "javascript:1",
        "http://[",
    ):
        nobody = web.nobody()
        token = TOKEN.findall(nobody.web.get("/console/sign-in").text)[0]
        fields = {"name": READER, "password": PASSWORD, "token": token, "next": way}
        answer = nobody.web.post("/console/sign-in", data=fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/")


def test_a_wrong_password_and_a_name_that_nobody_has_get_the_same_answer(web: Console) -> None:
    answers = [web.nobody().sign_in(name, "wrong") for name in (READER, "nobody")]
    said = [(answer.status_code, "do not belong together" in answer.text) for answer in answers]
    assert said == [(401, True)] * 2


def test_the_cookie_is_for_the_browser_alone(web: Console) -> None:
    kept = web.nobody().sign_in(READER).headers.get_list("set-cookie")
    session = next(each for each in kept if each.startswith("freshness_session="))
    assert "HttpOnly" in session
    assert "SameSite=lax" in session
    assert "Path=/console" in session


def test_on_another_host_than_this_machine_the_cookie_travels_over_https_alone(web: Console) -> None:
    for host, secure in (("127.0.0.1", False), ("localhost", False), ("portal.example", True)):
        cookie = web.nobody().web.get("/console/sign-in", headers={"Host": host}).headers["set-cookie"]
        assert ("; Secure" in cookie) == secure, host


def test_who_signs_out_is_out_for_good(web: Console, reader: Person) -> None:
    kept = dict(reader.web.cookies)
    assert reader.post("/sign-out").status_code == 303
    stolen = web.nobody()
    stolen.web.cookies.update(kept)
    assert stolen.get("/").status_code == 303


def test_signing_in_and_out_leave_a_row(web: Console, reader: Person) -> None:
    reader.post("/sign-out")
    rows = web.rows("SELECT who, what, result FROM console_actions ORDER BY id")
    assert rows == [(READER, "sign in", "signed in"), (READER, "sign out", "signed out")]


def test_a_session_ends_with_the_password_it_began_with(
    engine: sa.Engine, environment: dict[str, str], web: Console, reader: Person
) -> None:
    changed = USERS.replace(USERS.split(",")[0], f"{READER}:reader:{hashed('another')}")
    with console(engine, environment | {"CONSOLE_USERS": changed}) as later:
        same = later.nobody()
        same.web.cookies.update(dict(reader.web.cookies))
        assert same.get("/").status_code == 303
    assert reader.get("/").status_code == 200


def test_the_database_keeps_nothing_that_signs_in(web: Console, reader: Person) -> None:
    token = reader.web.cookies["freshness_session"]
    assert token not in str(web.rows("SELECT * FROM console_sessions"))


def test_after_ten_wrong_tries_an_address_must_wait_even_with_the_right_password(web: Console) -> None:
    codes = [web.nobody().sign_in(READER, "wrong").status_code for _ in range(OF_AN_ADDRESS)]
    assert codes == [401] * OF_AN_ADDRESS
    answer = web.nobody().sign_in(READER)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "600")


def test_a_forwarded_address_is_not_believed_from_a_stranger(web: Console) -> None:
    """Else every try would come from somewhere else."""
    for number in range(OF_AN_ADDRESS):
        web.nobody().sign_in(READER, "wrong", **{"X-Forwarded-For": f"203.0.113.{number}"})
    assert web.nobody().sign_in(READER, **{"X-Forwarded-For": "203.0.113.99"}).status_code == 429


def test_a_name_has_thirty_tries_from_all_addresses_together(engine: sa.Engine, environment: dict[str, str]) -> None:
    trusting = environment | {"CONSOLE_USERS": USERS, "TRUSTED_PROXIES": "127.0.0.1/32"}
    with console(engine, trusting) as web:
        for number in range(OF_A_NAME):
            web.nobody().sign_in(READER, "wrong", **{"X-Forwarded-For": f"203.0.113.{number}"})
        assert web.nobody().sign_in(READER, **{"X-Forwarded-For": "203.0.113.99"}).status_code == 429
        assert web.nobody().sign_in(OPERATOR, **{"X-Forwarded-For": "203.0.113.99"}).status_code == 303


def test_who_signs_in_does_not_use_up_tries(web: Console) -> None:
    codes = [web.nobody().sign_in(READER).status_code for _ in range(OF_AN_ADDRESS + 2)]
    assert codes == [303] * (OF_AN_ADDRESS + 2)


def test_the_short_form_is_one_operator_named_admin(engine: sa.Engine, environment: dict[str, str]) -> None:
    with console(engine, environment | {"CONSOLE_PASSWORD": "a short one"}) as web:
        assert web.nobody().sign_in("admin", "a short one").status_code == 303
        assert web.nobody().sign_in("admin", "another").status_code == 401


def test_pages_carry_the_headers_that_keep_others_out(reader: Person) -> None:
    for path in ("/", "/receipts", "/nowhere", "/static/console.css"):
        headers = reader.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_an_error_is_a_page_that_says_nothing_of_our_insides(reader: Person) -> None:
    for path, status in (("/nowhere", 404), ("/files/NOSUCH", 404), ("/receipts?outcome=x", 400), ("/receipts/1", 404)):
        answer = reader.get(path)
        assert answer.status_code == status
        assert "Traceback" not in answer.text
        assert "<h1>" in answer.text
