from collections.abc import Callable

import httpx
import pytest

from emulator.cloud import LocalCloud
from emulator.directory.objects import ManagedIdentity, Tenant
from emulator.directory.store import Directory
from emulator.seed import CLIENT_ID, GRAPH, ORDERS, TENANT_ID

OTHER_TENANT = "00000000-0000-0000-0000-00000000000a"
ROLE = frozenset({"User.Read.All"})


def test_a_service_principal_is_disabled_in_its_own_tenant_alone(
    cloud: LocalCloud, http: httpx.Client, client_secret: str
) -> None:
    """An application has a service principal in each tenant that consented; disabling one leaves the other."""
    cloud.directory.add_tenant(Tenant(OTHER_TENANT, "fabrikam.onmicrosoft.com"))
    principal = cloud.directory.consent(CLIENT_ID, tenant_id=OTHER_TENANT)
    cloud.directory.set_enabled(principal.object_id, enabled=False)
    form = {
        "grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": client_secret,
        "scope": f"{GRAPH}/.default",
    }  # fmt: skip

    answers = [
        http.post(f"{cloud.authority}/{tenant}/oauth2/v2.0/token", data=form) for tenant in (OTHER_TENANT, TENANT_ID)
    ]

    assert [answer.status_code for answer in answers] == [400, 200]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda directory, _: directory.consent("nobody", tenant_id=TENANT_ID), KeyError),
        (lambda directory, _: directory.consent(CLIENT_ID, tenant_id="nowhere"), KeyError),
        (lambda directory, _: directory.add_identity(ManagedIdentity("c", "p", "nowhere", "header")), KeyError),
        (lambda directory, _: directory.grant("nobody", resource=GRAPH, roles=ROLE), KeyError),
        (lambda directory, held: directory.grant(held, resource=ORDERS, roles=ROLE), ValueError),
        (lambda directory, held: directory.grant(held, resource="api://nothing", roles=ROLE), ValueError),
    ],
    ids=["application", "tenant", "tenant of an identity", "principal", "role", "API"],
)
def test_a_relation_to_nothing_is_refused(
    cloud: LocalCloud, change: Callable[[Directory, str], object], error: type[Exception]
) -> None:
    """A service principal, a managed identity and a grant need all that they name, and a refused change is none."""
    directory, graph = cloud.directory, cloud.directory.api(GRAPH)
    assert graph
    principal = directory.consent(CLIENT_ID, tenant_id=TENANT_ID)
    before = directory.identities()

    with pytest.raises(error):
        change(directory, principal.object_id)

    assert directory.identities() == before
    assert directory.roles(principal.object_id, graph) == ROLE
