// @azure/identity for Node in a process of its own; the same on stdin and stdout as in ../stock.py.
import { createInterface } from "node:readline";
import { ManagedIdentityCredential } from "@azure/identity";

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    const token = await new ManagedIdentityCredential().getToken(`${line.trim()}/.default`);
    told = { token: token.token, expires_on: Math.floor(token.expiresOnTimestamp / 1000) };
  } catch (error) {
    told = { raised: `${error.name}: ${error.message}` };
  }
  console.log(JSON.stringify(told));
}
