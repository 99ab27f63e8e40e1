"""The content of a new local cloud: one tenant, its APIs, four applications, one managed identity, one certificate.

The ids are fixed, so that configuration can be written once; every secret is drawn at start. The key of the certificate
was created in the vault and cannot leave it. The managed identity may sign with it, may read blobs and write those of
the directory, and may not read secrets. The second application is the operator of vend, logged in as a service
principal: it may read and write blobs. A test that logs in as the operator first adds a secret. The third one reads the
directory for the sync of `make run`: a registration of its own, so that what callers get holds none of its permissions.
The fourth is for the orders and the invoices of a shop: a second profile, with other roles on other APIs.
"""

import secrets

from emulator.blob.app import RESOURCE as STORAGE
from emulator.blob.app import BlobStorage
from emulator.directory.made_up import DOMAIN
from emulator.directory.objects import Api, Application, ManagedIdentity, Tenant
from emulator.directory.population import Size
from emulator.directory.store import Directory
from emulator.graph.permissions import ROLES
from emulator.management.app import RESOURCE as MANAGEMENT
from emulator.vault.app import RESOURCE as KEY_VAULT
from emulator.vault.app import KeyVault
from emulator.vault.policy import Policy

TENANT_ID = "7f3e9c52-1d6b-4a8f-9b0e-2c5d8a417e60"
CLIENT_ID = "3b9d1f74-6c2e-4e5a-8d17-90f4b6a2c835"
OBJECT_ID = "c51a7e08-94bf-4d23-b6e1-5f08d3729a4c"
IDENTITY_CLIENT_ID = "a86c4d29-07e5-4f1b-93da-6e2b71f05c98"
IDENTITY_PRINCIPAL_ID = "e2470b9f-5ac3-4186-8f3d-b19d64c7e05a"
ORDERS_CLIENT_ID = "c7e42b90-1a5d-4f83-b6c9-0d9f3e8a7251"
READER_CLIENT_ID = "1f6a94e3-5b0d-4c78-9e21-a7d3840fb65c"
OPERATOR_CLIENT_ID = "9e1d5b38-42c7-4f06-8a9b-d73c15e0f264"
OPERATOR_PRINCIPAL_ID = "6b7f20c4-e8d1-49a5-b3f2-84a0c95d1e73"
APP_RESOURCE_ID = (
    "/subscriptions/00000000-0000-4000-8000-000000005ab5/resourceGroups/vend/providers/Microsoft.Web/sites/vend-local"
)

CERTIFICATE = "vend"
CONTAINER = "configuration"
DIRECTORY_CONTAINER = "directory"
GRAPH = "https://graph.microsoft.com"
GRAPH_ROLES = frozenset({"User.Read.All"})
"""What the first application may do there."""
ORDERS_ID = "5d0e8f3a-b742-4c96-a1f8-37c9e6d2b104"
ORDERS = f"api://{ORDERS_ID}"
INVOICES_ID = "a9f1c3d7-6e20-4b58-9c4d-82b7e05f1a36"
INVOICES = f"api://{INVOICES_ID}"
# The audience of identity tokens that prove the callers of vend.
VEND_ID = "4b0f6e21-8c3d-4a97-b5e2-91d7c30fa648"
VEND = "api://vend"

# Microsoft's own ids, the same in every tenant.
GRAPH_ID = "00000003-0000-0000-c000-000000000000"
TOKEN_EXCHANGE = "api://AzureADTokenExchange"
TOKEN_EXCHANGE_ID = "fb60f99c-7a34-4190-8149-302f77469936"
KEY_VAULT_ID = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"
MANAGEMENT_ID = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
STORAGE_ID = "e406a681-f3d4-42a8-90b6-c2b029497af1"
POSTGRESQL_ID = "123cd850-d9df-40bd-94d5-c9f07b7fa203"
POSTGRESQL = "https://ossrdbms-aad.database.windows.net"

# Each national cloud has an audience of its own; these two ids are made up, so that no audience passes for another.
FOREIGN_TOKEN_EXCHANGES = {
    "api://AzureADTokenExchangeUSGov": "0e8b5a3c-41d7-4f62-9c08-7a2d6e9b31f5",
    "api://AzureADTokenExchangeChina": "8c17f4d2-69b0-4e3a-a5d8-1f0c3b7e2946",
}


def seed(
    directory: Directory, vault: KeyVault, blob: BlobStorage, *, size: Size, graph_url: str, management_url: str
) -> None:
    """Add the objects and the role assignments; Graph and ARM have their public names and their addresses."""
    directory.add_tenant(Tenant(TENANT_ID, domain=DOMAIN), size=size)
    directory.add_api(
        Api(
            GRAPH_ID,
            name="Microsoft Graph",
            identifier_uris=frozenset({GRAPH, graph_url}),
            emits_idtyp=True,
            roles=ROLES,
        )
    )
    directory.add_api(Api(KEY_VAULT_ID, name="Azure Key Vault", identifier_uris=frozenset({KEY_VAULT})))
    directory.add_api(Api(STORAGE_ID, name="Azure Storage", identifier_uris=frozenset({STORAGE})))
    directory.add_api(Api(POSTGRESQL_ID, name="Azure OSSRDBMS Database", identifier_uris=frozenset({POSTGRESQL})))
    directory.add_api(
        Api(
            MANAGEMENT_ID,
            name="Windows Azure Service Management API",
            identifier_uris=frozenset({MANAGEMENT, management_url}),
        )
    )
    for audience, app_id in {TOKEN_EXCHANGE: TOKEN_EXCHANGE_ID, **FOREIGN_TOKEN_EXCHANGES}.items():
        directory.add_api(
            Api(
                app_id,
                name="AAD Token Exchange Endpoint",
                identifier_uris=frozenset({audience}),
                token_version=2,
            )
        )
    directory.add_api(
        Api(
            ORDERS_ID,
            name="Orders",
            identifier_uris=frozenset({ORDERS}),
            token_version=2,
            roles=frozenset({"Orders.Read.All"}),
        )
    )
    directory.add_api(
        Api(
            INVOICES_ID,
            name="Invoices",
            identifier_uris=frozenset({INVOICES}),
            token_version=2,
            roles=frozenset({"Invoices.Read.All", "Invoices.Write.All"}),
        )
    )
    directory.add_api(Api(VEND_ID, name="vend", identifier_uris=frozenset({VEND}), token_version=2))
    directory.add_application(Application(CLIENT_ID, object_id=OBJECT_ID, name="vend"))
    directory.add_application(
        Application(
            OPERATOR_CLIENT_ID,
            object_id="f08c3a51-97d2-4e6b-a14f-2db5c8e07396",
            name="operator",
        )
    )
    directory.consent(OPERATOR_CLIENT_ID, tenant_id=TENANT_ID, object_id=OPERATOR_PRINCIPAL_ID)
    principal = directory.consent(CLIENT_ID, tenant_id=TENANT_ID)
    directory.grant(principal.object_id, resource=GRAPH, roles=GRAPH_ROLES)
    directory.add_identity(
        ManagedIdentity(
            IDENTITY_CLIENT_ID,
            principal_id=IDENTITY_PRINCIPAL_ID,
            tenant_id=TENANT_ID,
            header=secrets.token_hex(16),
        )
    )
    vault.create_certificate(CERTIFICATE, Policy(subject="CN=vend", exportable=False))
    vault.assign(IDENTITY_PRINCIPAL_ID, "vend signer")
    blob.assign(IDENTITY_PRINCIPAL_ID, "Storage Blob Data Reader")
    blob.assign(IDENTITY_PRINCIPAL_ID, "Storage Blob Data Contributor", container=DIRECTORY_CONTAINER)
    blob.assign(OPERATOR_PRINCIPAL_ID, "Storage Blob Data Contributor")
    directory.register_certificate(CLIENT_ID, vault.certificate(CERTIFICATE))
    directory.add_application(
        Application(ORDERS_CLIENT_ID, object_id="5f3b8d16-e9a4-4c72-8d0b-7a61f2c4e938", name="vend orders")
    )
    shop = directory.consent(ORDERS_CLIENT_ID, tenant_id=TENANT_ID)
    directory.grant(shop.object_id, resource=ORDERS, roles=frozenset({"Orders.Read.All"}))
    directory.grant(shop.object_id, resource=INVOICES, roles=frozenset({"Invoices.Read.All", "Invoices.Write.All"}))
    directory.register_certificate(ORDERS_CLIENT_ID, vault.certificate(CERTIFICATE))
    directory.add_application(
        Application(READER_CLIENT_ID, object_id="84d2b7f9-0c6e-4a35-b18f-e95a3c207d46", name="vend directory reader")
    )
    reader = directory.consent(READER_CLIENT_ID, tenant_id=TENANT_ID)
    directory.grant(
        reader.object_id,
        resource=GRAPH,
        roles=frozenset({"User.Read.All", "GroupMember.Read.All", "Application.Read.All"}),
    )
    directory.register_certificate(READER_CLIENT_ID, vault.certificate(CERTIFICATE))
