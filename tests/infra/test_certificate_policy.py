"""The certificate of docs/deployment.md, made in the local vault by who makes it there."""

import hashlib
from pathlib import Path

import pytest
from azure.keyvault.certificates import CertificatePolicy, KeyVaultCertificate, LifetimeAction
from azure.keyvault.keys.crypto import SignatureAlgorithm

from tests.emulator.vault_clients import vault_host
from tests.infra.deployment import INFRA, read_deployment


@pytest.mark.parametrize(("shape", "months", "percentage"), [("smallest", 12, 80), ("secrets", 6, 70)])
def test_the_policy_makes_a_certificate_that_signs_where_it_is(
    tmp_path: Path, shape: str, months: int, percentage: int
) -> None:
    """With the roles that are deployed, the operator makes it and the app signs with it; its key cannot be exported."""
    with vault_host(tmp_path) as host, host.vault() as clients:
        clients.vault.assign("operator", "Key Vault Certificates Officer")
        clients.vault.assign("app", "vend signer")
        made = clients.certificates("operator").begin_create_certificate("vend", as_az_reads_it(shape)).result()
        assert isinstance(made, KeyVaultCertificate)
        found = clients.certificates("app").get_certificate("vend")
        assert found.policy
        assert (found.policy.exportable, found.policy.validity_in_months) == (False, months)
        assert [(act.action, act.lifetime_percentage) for act in found.policy.lifetime_actions or ()] == [
            ("AutoRenew", percentage)
        ]
        digest = hashlib.sha256(b"assertion").digest()
        assert clients.cryptography("vend", principal="app").sign(SignatureAlgorithm.ps256, digest).signature


def as_az_reads_it(shape: str) -> CertificatePolicy:
    """Hand the output of a shape to the SDK as `az keyvault certificate create --policy` does."""
    policy = read_deployment(INFRA / "snapshots" / shape).certificate
    key, x509 = policy["keyProperties"], policy["x509CertificateProperties"]
    return CertificatePolicy(
        issuer_name=policy["issuerParameters"]["name"],
        subject=x509["subject"],
        exportable=key["exportable"],
        key_type=key["keyType"],
        key_size=key["keySize"],
        reuse_key=key["reuseKey"],
        content_type=policy["secretProperties"]["contentType"],
        enhanced_key_usage=x509["ekus"],
        key_usage=x509["keyUsage"],
        validity_in_months=x509["validityInMonths"],
        lifetime_actions=[
            LifetimeAction(act["action"]["actionType"], lifetime_percentage=act["trigger"]["lifetimePercentage"])
            for act in policy["lifetimeActions"]
        ],
    )
