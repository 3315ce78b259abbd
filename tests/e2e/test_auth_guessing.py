"""Guessing at passwords: who guesses waits, and who is guessed at gets in."""

from __future__ import annotations

import pytest
from tests.e2e.api import PASSWORD, Api, somewhere

from portico.testing.client import Answer


def attempt(api: Api, email: str, password: str, address: str) -> Answer:
    return Api(api.gateway, address).send("POST", "/auth/login", None, {"email": email, "password": password})


def test_a_guesser_waits_even_for_the_right_password(api: Api) -> None:
    person = api.person()
    statuses = [attempt(api, person["email"], f"guess number {index}", api.address).status for index in range(9)]
    assert statuses[:5] == [401] * 5
    assert statuses.count(429) >= 2
    lucky = attempt(api, person["email"], PASSWORD, api.address)
    problem = lucky.json()
    assert (lucky.status, problem["code"]) == (429, "too_many_attempts")
    assert int(lucky.header("Retry-After") or 0) >= 2


def test_an_account_that_nobody_has_makes_wait_just_the_same(api: Api) -> None:
    known, unknown = api.person()["email"], "nobody-" + api.address + "@example.com"
    answers = [[attempt(api, email, "wrong password", somewhere_fixed) for _ in range(8)]
               for email, somewhere_fixed in ((known, somewhere()), (unknown, somewhere()))]  # fmt: skip
    told = [[(each.status, each.json()["code"], each.header("Retry-After")) for each in many] for many in answers]
    assert told[0] == told[1]


@pytest.mark.parametrize("served", ["sqlite"], indirect=True)
def test_a_stranger_can_t_lock_the_owner_out(api: Api) -> None:
    person = api.person()
    home = somewhere()
    assert attempt(api, person["email"], PASSWORD, home).status == 200
    for index in range(8):  # from one address, and from a crowd
        attempt(api, person["email"], f"guess {index}", api.address)
    for index in range(50):
        assert attempt(api, person["email"], f"guess {index}", somewhere()).status in (401, 429)
    assert attempt(api, person["email"], PASSWORD, somewhere()).status == 429
    assert attempt(api, person["email"], PASSWORD, home).status == 200


def test_the_password_of_now_can_t_be_guessed_by_changing_it(api: Api) -> None:
    token = api.token()
    body = {"password": "a new one for me"}
    codes = []
    for index in range(9):
        answer = api.send("PATCH", "/auth/profile", token, {**body, "current_password": f"guess {index}"})
        codes.append((answer.status, answer.json()["code"]))
    assert codes[:5] == [(403, "password_wrong")] * 5
    assert codes[-1] == (429, "too_many_attempts")


def test_logging_in_often_is_not_guessing(api: Api) -> None:
    person = api.person()
    for _ in range(12):
        assert attempt(api, person["email"], PASSWORD, api.address).status == 200
