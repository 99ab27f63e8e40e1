// MSAL for Node, whose network is recorded: stdin has a line of JSON, stdout gets the assertion that MSAL would send.
import { createInterface } from "node:readline";
import { ConfidentialClientApplication } from "@azure/msal-node";

for await (const line of createInterface({ input: process.stdin })) {
  const { authority, clientId, clientCertificate } = JSON.parse(line);
  let form;
  const networkClient = {
    sendGetRequestAsync: async () => ({
      status: 200,
      headers: {},
      body: {
        issuer: `${authority}/v2.0`,
        authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
        token_endpoint: `${authority}/oauth2/v2.0/token`,
        jwks_uri: `${authority}/discovery/v2.0/keys`,
      },
    }),
    sendPostRequestAsync: async (_url, options) => {
      form = new URLSearchParams(options.body);
      return { status: 200, headers: {}, body: { token_type: "Bearer", expires_in: 3600, access_token: "opaque" } };
    },
  };
  const app = new ConfidentialClientApplication({
    auth: { clientId, authority, clientCertificate, knownAuthorities: [new URL(authority).host] },
    system: { networkClient },
  });
  await app.acquireTokenByClientCredential({ scopes: ["https://graph.microsoft.com/.default"], skipCache: true });
  console.log(form.get("client_assertion"));
}
