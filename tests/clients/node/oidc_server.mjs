// npm's oidc-provider in the place of Entra: an OAuth server that takes each client assertion once.
// stdin: a line of JSON with key and certificate of the server, the tenant and the clients. stdout: the origin, then a
// line of JSON for each answer of the token endpoint.
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import { Provider } from "oidc-provider";

const lines = createInterface({ input: process.stdin });
const { value: line } = await lines[Symbol.asyncIterator]().next();
const { key, cert, tenant, clients, scopes } = JSON.parse(line);
const server = createServer({ key, cert });
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const origin = `https://localhost:${server.address().port}`;

const provider = new Provider(`${origin}/${tenant}`, {
  clients: clients.map((client) => ({
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    scope: scopes.join(" "),
    ...client,
  })),
  features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
  scopes,
  ttl: { ClientCredentials: 3600 },
  clientAuthMethods: ["private_key_jwt", "client_secret_post"],
  enabledJWA: { clientAuthSigningAlgValues: ["PS256"] },
  routes: { token: "/oauth2/v2.0/token" },
});
const handle = provider.callback();
server.on("request", (request, response) => {
  response.on("finish", () => console.log(JSON.stringify({ path: request.originalUrl, status: response.statusCode })));
  request.originalUrl = request.url;
  request.url = request.url.slice(`/${tenant}`.length);
  handle(request, response);
});
console.log(origin);
lines.on("close", () => process.exit());
