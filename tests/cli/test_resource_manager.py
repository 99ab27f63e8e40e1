"""`./vend callers` of an app in Azure: what Azure Resource Manager refuses, what it may do later, and what it loses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from emulator.cloud import LocalCloud
from emulator.management.app import DELETE, LIST, WRITE
from emulator.management.errors import conflict, host_failed, locked, out_of_order, throttled, unauthenticated
from emulator.network.faults import Fault, Kind
from emulator.refusal import Refusal
from emulator.seed import APP_RESOURCE_ID, OPERATOR_PRINCIPAL_ID
from emulator.tour.site import SCOPE
from tests.cli.desk import ADD, OLD, Desk

pytestmark = pytest.mark.parametrize("desk", ["Azure"], indirect=True)

SEVERAL = tuple("abcdef")
ADD_SEVERAL = ("callers", "add", *SEVERAL, "--allow", SCOPE)
AGAIN = " Repeated for up to 60 s.\n"


@pytest.fixture(autouse=True)
def mended(cloud: LocalCloud) -> Iterator[None]:
    """Leave the cloud as it was."""
    yield
    cloud.faults["management"].clear()
    cloud.management.fail()
    cloud.management.lose(0)
    cloud.management.add_contributor(OPERATOR_PRINCIPAL_ID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A failure that may pass, the wait before the repeat, and what is said of it."""

    id: str
    failure: Refusal
    wait: float = 5
    says: str


PASSING = (
    Passing(
        id="restart",
        failure=host_failed("ServiceUnavailable"),
        says="400 BadRequest: Encountered an error (ServiceUnavailable) from host runtime. "
        "The host of the app restarts, or fails.",
    ),
    Passing(
        id="two writes at once",
        failure=host_failed("InternalServerError"),
        says="400 BadRequest: Encountered an error (InternalServerError) from host runtime. "
        "The host of the app restarts, or fails.",
    ),
    Passing(
        id="conflict",
        failure=conflict(),
        says="409 Conflict: Cannot modify this site because another operation is in progress. Details: Id: 1. "
        "Another operation is under way.",
    ),
    Passing(
        id="throttled",
        failure=throttled(seconds=17),
        wait=17,
        says="429 SubscriptionRequestsThrottled: Number of requests for the subscription exceeded the limit. "
        "Please try again after some seconds. There are too many requests.",
    ),
    Passing(
        id="failure",
        failure=out_of_order(),
        says="503 ServiceUnavailable: The service is unavailable now; retry the request later. "
        "The service fails for now.",
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("case", PASSING, ids=lambda case: case.id)
def test_what_azure_may_do_a_little_later_is_repeated(desk: Desk, cloud: LocalCloud, case: Passing) -> None:
    """FND-E11. It is said once, with Azure's own words and what is waited for; Retry-After is honoured."""
    cloud.management.fail(case.failure, case.failure)
    done = desk.do(*ADD)
    assert (done.exit_code, set(desk.held)) == (0, {"vend-billing", "vend-reports"})
    assert desk.waited == 2 * case.wait + 32
    assert f"Azure Resource Manager answers {case.says}{AGAIN}" in done.stderr
    assert done.stderr.count("Azure Resource Manager answers ") == 1


def test_a_connection_that_breaks_off_is_repeated(desk: Desk, cloud: LocalCloud) -> None:
    """FND-E11. As a failure that may pass is."""
    cloud.faults["management"].set(Fault(kind=Kind.CUT, after_bytes=0, times=1))
    done = desk.do(*ADD)
    assert (done.exit_code, desk.waited) == (0, 5 + 32)
    assert " broke off: " in done.stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """A failure that ends the command, the last two lines, and how long it was waited for."""

    id: str
    failure: Refusal | None = None
    prepare: Callable[[Desk, LocalCloud], object] = lambda _desk, _cloud: None
    says: str
    hint: str
    waited: float = 0


def may(*actions: str) -> Callable[[Desk, LocalCloud], object]:
    """Leave the operator these actions alone."""
    return lambda _desk, cloud: cloud.management.add_contributor(OPERATOR_PRINCIPAL_ID, actions=actions)


def elsewhere(desk: Desk, _cloud: LocalCloud) -> None:
    """Mean an app that is not there."""
    desk.environ["VEND_RESOURCE_ID"] += "-2"


ROLE = ": ask for the role vend key operator of the deployment on the app."
FINAL = (
    Final(
        id="no right to list", prepare=may(WRITE, DELETE), says="403 AuthorizationFailed", hint=f"You need {LIST}{ROLE}"
    ),
    Final(
        id="no right to make", prepare=may(LIST, DELETE), says="403 AuthorizationFailed", hint=f"You need {WRITE}{ROLE}"
    ),
    Final(
        id="no such app",
        prepare=elsewhere,
        says=f"404 ResourceNotFound: The Resource '{APP_RESOURCE_ID}-2' was not found.",
        hint="Is --resource-id (VEND_RESOURCE_ID) right, and is it your subscription?",
    ),
    Final(
        id="an old token",
        failure=unauthenticated("The access token expiry UTC time is over.", code="ExpiredAuthenticationToken"),
        says="401 ExpiredAuthenticationToken: The access token expiry UTC time is over.",
        hint="Log in again: az login, with --tenant where you have several.",
    ),
    Final(
        id="a subscription that is switched off",
        failure=Refusal(403, "The subscription is disabled.", code="ReadOnlyDisabledSubscription"),
        says="403 ReadOnlyDisabledSubscription: The subscription is disabled.",
        hint="The message says what forbids it; the owner of the subscription can change that.",
    ),
    Final(
        id="a lock",
        failure=locked(APP_RESOURCE_ID),
        says="409 ScopeLocked",
        hint="Somebody has locked the app or its resource group: a lock stays until it is removed.",
    ),
    Final(
        id="a host that refuses",
        failure=host_failed("Forbidden"),
        says="400 BadRequest: Encountered an error (Forbidden) from host runtime.",
        hint="Is --resource-id (VEND_RESOURCE_ID) right, and is it your subscription?",
    ),
    Final(
        id="a wait that is too long",
        failure=throttled(seconds=61),
        says="429 SubscriptionRequestsThrottled",
        hint="Repeat the command after 61 s.",
    ),
    Final(
        id="a minute",
        failure=out_of_order(),
        says="503 ServiceUnavailable",
        hint="Repeat the command later.",
        waited=60,
    ),
)


@pytest.mark.parametrize("case", FINAL, ids=lambda case: case.id)
def test_what_azure_refuses_ends_the_command(desk: Desk, cloud: LocalCloud, case: Final) -> None:
    """FND-E11. With its code, what helps, no trace of a token, and no key; after a minute at most."""
    if case.failure:
        cloud.management.fail(*[case.failure] * 20)
    case.prepare(desk, cloud)
    done = desk.do(*ADD)
    *_, said, hint = done.stderr.splitlines()
    assert (done.exit_code, desk.waited, desk.held) == (1, case.waited, {"vend-billing": OLD})
    assert said.startswith(f"Azure Resource Manager answers {case.says}")
    assert hint == case.hint
    assert "eyJ" not in done.output


@pytest.mark.parametrize(
    ("trouble", "hint"),
    [
        ("no login", "Log in with `az login` or `azd auth login`, and repeat."),
        ("no ARM", "Does your network reach Azure Resource Manager?"),
        ("no JSON", "Is `management` of the cloud right? Does a proxy answer in its place?"),
    ],
)
def test_without_azure_nothing_is_made(
    desk: Desk, cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, trouble: str, hint: str
) -> None:
    """It is said at once, in two lines, and the second one helps."""
    if trouble == "no login":
        monkeypatch.setenv("PATH", "/nowhere")
    if trouble == "no ARM":
        cloud.faults["management"].set(Fault(kind=Kind.REFUSE))
    if trouble == "no JSON":
        cloud.faults["management"].set(Fault(kind=Kind.GARBAGE, body="[" * 100_000))
    done = desk.do(*ADD)
    assert (done.exit_code, desk.waited, desk.held) == (1, 0, {"vend-billing": OLD})
    assert done.stderr.splitlines()[1:] == [hint]


def test_a_right_to_delete_is_asked_for_by_its_name(desk: Desk, cloud: LocalCloud) -> None:
    """A revocation does its part in the document, is in force, and ends with exit code 1: a key is left."""
    cloud.management.add_contributor(OPERATOR_PRINCIPAL_ID, actions=[LIST, WRITE])
    done = desk.do("callers", "revoke", "billing")
    assert (done.exit_code, desk.callers, set(desk.held)) == (1, {}, {"vend-billing"})
    assert f"You need {DELETE}{ROLE}\n" in done.stderr
    assert "In force on 3 workers seen; " in done.output
    assert done.stderr.splitlines()[-1] == "Repeat the command to delete it."


def test_a_long_message_is_cut_and_steers_no_terminal(desk: Desk, cloud: LocalCloud) -> None:
    """It is text from a network: one line of at most 600 characters, without control characters."""
    cloud.management.fail(Refusal(400, "\x1b[2J\r\n<html>" * 1000, code="Bad\x07Request" * 1000))
    done = desk.do(*ADD)
    first = done.stderr.splitlines()[0]
    assert (done.exit_code, len(first) < 1400, first.isprintable()) == (1, True, True)


def test_several_callers_share_one_document_and_one_wait(desk: Desk) -> None:
    """Each key is printed behind the name of its caller, in the order of the names; the wait is that of one caller."""
    done = desk.do(*ADD_SEVERAL)
    keys = dict(line.split() for line in done.stdout.splitlines())
    assert (done.exit_code, list(keys), desk.waited) == (0, list(SEVERAL), 32)
    assert desk.held == {"vend-billing": OLD} | {f"vend-{name}": key for name, key in keys.items()}
    assert "6 keys of 6 work.\n" in done.stderr
    revoked = desk.do("callers", "revoke", *SEVERAL)
    assert (revoked.exit_code, set(desk.callers), desk.held) == (0, {"billing"}, {"vend-billing": OLD})
    assert desk.waited == 32


@pytest.mark.slow
def test_a_change_that_another_one_overwrites_is_made_again(desk: Desk, cloud: LocalCloud) -> None:
    """The host writes all its keys at each change: of those side by side, some are lost although it says "done"."""
    cloud.management.lose(3)
    added = desk.do(*ADD_SEVERAL)
    keys = dict(line.split() for line in added.stdout.splitlines())
    assert (added.exit_code, desk.held) == (0, {"vend-billing": OLD} | {f"vend-{n}": k for n, k in keys.items()})
    cloud.management.lose(3)
    revoked = desk.do("callers", "revoke", *SEVERAL)
    assert (revoked.exit_code, desk.held) == (0, {"vend-billing": OLD})


def test_a_key_whose_answer_is_lost_is_made_again(desk: Desk, cloud: LocalCloud) -> None:
    """The host has it, and nobody knows its value: the repeat gives it a new one."""
    cloud.management.fail(host_failed("GatewayTimeout"), key="vend-reports", after_effect=True)
    done = desk.do(*ADD)
    assert (done.exit_code, desk.held["vend-reports"]) == (0, desk.new_key(done, "reports"))


@pytest.mark.slow
@pytest.mark.parametrize("cleared", [True, False], ids=["deleted", "named"])
def test_a_caller_without_a_key_is_left_out_and_named(desk: Desk, cloud: LocalCloud, *, cleared: bool) -> None:
    """The others are added. A key that may be there all the same is deleted, or named: then `revoke` deletes it."""
    if not cleared:
        cloud.management.add_contributor(OPERATOR_PRINCIPAL_ID, actions=[LIST, WRITE])
    cloud.management.fail(*[host_failed("GatewayTimeout")] * 13, key="vend-c", after_effect=True)
    done = desk.do(*ADD_SEVERAL)
    added = {"a", "b", "d"}  # "e" and "f" would have come after
    assert (done.exit_code, set(desk.callers), desk.waited) == (1, {"billing", *added}, 60 + 32)
    assert done.stderr.splitlines()[-2:] == ["Not added: c, e, f.", "Repeat the command for those alone."]
    assert "3 keys of 3 work.\n" in done.stderr
    left = set() if cleared else {"vend-c"}
    assert set(desk.held) == {"vend-billing", *(f"vend-{name}" for name in added)} | left
    assert (
        "The host may have the new key vend-c. Nobody has it, and it opens nothing.\n" in done.stderr
    ) is not cleared
    cloud.management.add_contributor(OPERATOR_PRINCIPAL_ID)
    if not cleared:
        assert desk.do("callers", "add", "c", "--allow", SCOPE).exit_code == 1
        assert desk.do("callers", "revoke", "c").exit_code == 0
    assert desk.do("callers", "add", "c", "e", "f", "--allow", SCOPE).exit_code == 0
    assert set(desk.callers) == {"billing", *SEVERAL}


@pytest.mark.parametrize(
    ("status", "times", "left", "says"),
    [
        (500, None, {"vend-reports"}, " is written is not known.\n"),
        (403, None, {"vend-reports"}, "The host keeps vend-reports: whether a caller has it is not known.\n"),
        (403, 1, set(), "Deleted again, because no caller has it: "),
    ],
    ids=["not known", "not readable", "not written"],
)
def test_a_new_key_goes_only_where_no_document_can_have_it(
    desk: Desk, cloud: LocalCloud, status: int, times: int | None, left: set[str], says: str
) -> None:
    """A blob that cannot be read after a write that failed may have the key: it stays."""
    cloud.management.fail(out_of_order(), key="vend-reports")
    desk.meanwhile = lambda: cloud.faults["blob"].set(Fault(kind=Kind.STATUS, status=status, times=times))
    try:
        done = desk.do(*ADD)
    finally:
        cloud.faults["blob"].clear()
    assert (done.exit_code, set(desk.held), says in done.stderr) == (1, {"vend-billing", *left}, True)
