// openid-client with a key pair of the caller's own, with stdin and stdout as in ../stock.py.
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { createPrivateKey } from "node:crypto";
import * as client from "openid-client";

const { AZURE_CLIENT_ID, PRIVATE_KEY_FILE, TOKEN_URL } = process.env;
const pkcs8 = createPrivateKey(await readFile(PRIVATE_KEY_FILE)).export({ type: "pkcs8", format: "der" });
const algorithm = { name: "ECDSA", namedCurve: "P-256" };
const key = await crypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]);

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    const server = { issuer: TOKEN_URL, token_endpoint: TOKEN_URL };
    const config = new client.Configuration(server, AZURE_CLIENT_ID, undefined, client.PrivateKeyJwt(key));
    const token = await client.clientCredentialsGrant(config, { scope: `${line.trim()}/.default` });
    told = { token: token.access_token, expires_on: Math.floor(Date.now() / 1000) + token.expires_in };
  } catch (error) {
    told = { raised: `${error.name}: ${error.message} ${error.cause ? JSON.stringify(error.cause) : ""}` };
  }
  console.log(JSON.stringify(told));
}
