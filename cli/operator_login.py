"""The operator's login, which `az` or `azd` has already. No browser opens, and nothing is kept."""

import logging

from cli.screen import stop


def operator_token(resource: str) -> str:
    """Get a token for the operator, or end with exit code 1.

    Args:
        resource: whose token, such as https://management.azure.com.
    """
    # Late: importing it takes longer than most commands do.
    from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415
    from azure.identity import (  # noqa: PLC0415
        AzureCliCredential,
        AzureDeveloperCliCredential,
        ChainedTokenCredential,
    )

    logging.getLogger("azure").addHandler(logging.NullHandler())  # it would tell stderr what is told below
    login = ChainedTokenCredential(AzureCliCredential(), AzureDeveloperCliCredential())
    try:
        return login.get_token(f"{resource}/.default").token
    except ClientAuthenticationError:
        raise stop(
            f"Neither az nor azd gives a token for {resource}.",
            "Log in with `az login` or `azd auth login`, and repeat.",
        ) from None
