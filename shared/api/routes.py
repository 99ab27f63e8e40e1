"""The four ways to ask for a token. What is sent and how it is answered differs; what is decided between does not."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from shared.api.answers import (
    Answer,
    Vended,
    error_answer,
    managed_identity_answer,
    managed_identity_error,
    token_answer,
)
from shared.api.remembered import RememberedForms
from shared.core.errors import InvalidRequest, MethodNotAllowed, UnknownCaller, VendError
from shared.core.form import client_of
from shared.core.names import is_guid
from shared.core.proofs import Credentials, asserted_credentials, bearer_token, is_asserted
from shared.core.request import (
    BESIDE_BASIC,
    BY_ASSERTION,
    IN_THE_FORM,
    Incoming,
    TokenRequest,
    check_envelope,
    check_form_media,
    check_one_credential,
    client_credentials,
    key_in_header,
    read_managed_identity_request,
    read_token_request,
    unencoded_credentials,
)

_TENANT = re.compile(r"/entra/([^/]{1,64})/")


class Route(ABC):
    """One way to ask for a token; its methods are called in the order in which they stand here.

    Class attributes:
        name: the path behind `/api/`; it stands in the audit event.
        method: the one that it takes.
        host_checked: whether the host has accepted the key before the app is asked.
        challenge: what 401 names as the way to prove oneself (RFC 9110 section 11.6.1).
    """

    name: ClassVar[str]
    method: ClassVar[str] = "POST"
    host_checked: ClassVar[bool] = False
    challenge: ClassVar[str] = "FunctionKey"

    @abstractmethod
    def check(self, incoming: Incoming) -> None:
        """Check what needs no key; raises `Refused`."""

    @abstractmethod
    def credentials(self, incoming: Incoming) -> Credentials:
        """Return what the caller proves itself with; raises `UnknownCaller`."""

    def unencoded_credentials(self, incoming: Incoming) -> Credentials | None:  # noqa: ARG002  # for those that differ
        """Return the credentials as a client means them that does not form-encode them, where that differs."""
        return None

    @abstractmethod
    def read(self, incoming: Incoming) -> TokenRequest:
        """Read what is asked for; raises `Refused`."""

    def vended(self, vended: Vended) -> Answer:
        """Answer with a token, as OAuth does."""
        return token_answer(vended)

    def refused(self, error: VendError, *, method: str, correlation_id: str) -> Answer:
        """Answer a request of some method without a token; the answer to HEAD has no body (RFC 9110 section 9.3.2)."""
        headers = {}
        if isinstance(error, MethodNotAllowed):
            headers = {"Allow": self.method}
        if isinstance(error, UnknownCaller):
            headers = {"WWW-Authenticate": self.challenge}
        answer = self._refused(error, correlation_id=correlation_id, headers=headers)
        return replace(answer, body=b"") if method == "HEAD" else answer

    def _refused(self, error: VendError, *, correlation_id: str, headers: Mapping[str, str]) -> Answer:
        return error_answer(error, correlation_id=correlation_id, headers=headers)


class FunctionKeyRoute(Route):
    """`POST /api/token`: the form of RFC 6749 section 4.4.2, and the function key in its header.

    An identity token beside the key says who calls.
    """

    name = "token"
    host_checked = True

    def __init__(self) -> None:
        self._forms = RememberedForms(read_token_request)

    def check(self, incoming: Incoming) -> None:
        """Check the method, the URL, the size and the media type."""
        check_envelope(incoming, method=self.method)
        check_form_media(incoming.headers, incoming.body)

    def credentials(self, incoming: Incoming) -> Credentials:
        """Return the key in the header that the host has checked, and what may be an identity token."""
        key = key_in_header(incoming.headers, "x-functions-key")
        return Credentials(key, token=bearer_token(incoming.headers))

    def read(self, incoming: Incoming) -> TokenRequest:
        """Read the form."""
        check_one_credential(incoming.headers, "x-functions-key")
        return self._forms.read(incoming.body, incoming.query)


class OAuthRoute(Route):
    """`POST /api/oauth2/token`: the same form, from clients that prove themselves as OAuth clients do.

    By name and key (RFC 6749 section 2.3.1), or by a client assertion (RFC 7523 section 2.2).
    """

    name = "oauth2/token"
    challenge = 'Basic realm="vend"'

    def check(self, incoming: Incoming) -> None:
        """Check the method, the URL, the size and the media type."""
        check_envelope(incoming, method=self.method)
        check_form_media(incoming.headers, incoming.body)

    def credentials(self, incoming: Incoming) -> Credentials:
        """Return those of HTTP Basic, or else the form's own: a key or an assertion."""
        return client_credentials(incoming.headers, incoming.body)

    def unencoded_credentials(self, incoming: Incoming) -> Credentials | None:
        """Return those of HTTP Basic as they stand there."""
        return unencoded_credentials(incoming.headers, incoming.body)

    def read(self, incoming: Incoming) -> TokenRequest:
        """Read the form."""
        check_one_credential(incoming.headers, "authorization")
        foreign = BESIDE_BASIC if "authorization" in incoming.headers else IN_THE_FORM
        if is_asserted(incoming.headers, client_of(incoming.body)):
            foreign = BY_ASSERTION
        return read_token_request(incoming.body, incoming.query, foreign=foreign)


class ManagedIdentityRoute(Route):
    """`GET /api/msi/token`: what the Azure SDKs speak on App Service, so that they speak to vend unchanged.

    https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
    """

    name = "msi/token"
    method = "GET"

    def check(self, incoming: Incoming) -> None:
        """Check the method, the URL and the size."""
        check_envelope(incoming, method=self.method)

    def credentials(self, incoming: Incoming) -> Credentials:
        """Return the key in the header that the SDKs fill from IDENTITY_HEADER."""
        return Credentials(key_in_header(incoming.headers, "x-identity-header"))

    def read(self, incoming: Incoming) -> TokenRequest:
        """Read the query."""
        check_one_credential(incoming.headers, "x-identity-header")
        return read_managed_identity_request(incoming.query)

    def vended(self, vended: Vended) -> Answer:
        """Answer as App Service does."""
        return managed_identity_answer(vended)

    def _refused(self, error: VendError, *, correlation_id: str, headers: Mapping[str, str]) -> Answer:
        # Never 404, which the SDKs take for "not there yet".
        return managed_identity_error(error, correlation_id=correlation_id, headers=headers)


class EntraRoute(Route):
    """`POST /api/entra/{tenant}/oauth2/v2.0/token`: what clients of Entra send that have an identity token.

    To them vend is an authority, so that `WorkloadIdentityCredential` and MSAL speak to it unchanged.
    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#third-case-access-token-request-with-a-federated-credential
    """

    name = "entra/{tenant}/oauth2/v2.0/token"
    challenge = "ClientAssertion"

    def check(self, incoming: Incoming) -> None:
        """Check the method, the URL, the size and the media type."""
        check_envelope(incoming, method=self.method)
        check_form_media(incoming.headers, incoming.body)

    def credentials(self, incoming: Incoming) -> Credentials:
        """Return the client assertion."""
        return asserted_credentials(client_of(incoming.body))

    def read(self, incoming: Incoming) -> TokenRequest:
        """Read the form; the tenant stands in the URL."""
        check_one_credential(incoming.headers, "client_assertion")
        tenant_id = tenant_of(incoming)
        request = read_token_request(incoming.body, incoming.query, foreign=BY_ASSERTION)
        if request.tenant_id not in {None, tenant_id}:
            raise InvalidRequest("tenant is not that of the URL", hint="send it in the URL alone")
        return replace(request, tenant_id=tenant_id)


def tenant_of(incoming: Incoming) -> str:
    """Return the tenant in the path of an authority.

    Raises:
        InvalidRequest: it is no GUID.
    """
    found = _TENANT.search(incoming.url.partition("?")[0])
    if found is None or not is_guid(found[1]):
        raise InvalidRequest("the tenant in the URL must be a GUID", hint="use the directory (tenant) ID")
    return found[1].lower()


FUNCTION_KEY, OAUTH, MANAGED_IDENTITY, ENTRA = ROUTES = (
    FunctionKeyRoute(),
    OAuthRoute(),
    ManagedIdentityRoute(),
    EntraRoute(),
)
