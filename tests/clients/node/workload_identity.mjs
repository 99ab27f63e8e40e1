// @azure/identity's WorkloadIdentityCredential, with stdin and stdout as in ../stock.py.
import { createInterface } from "node:readline";
import { WorkloadIdentityCredential } from "@azure/identity";

for await (const line of createInterface({ input: process.stdin })) {
  let told;
  try {
    const credential = new WorkloadIdentityCredential({ disableInstanceDiscovery: true });
    const token = await credential.getToken(`${line.trim()}/.default`);
    told = { token: token.token, expires_on: Math.floor(token.expiresOnTimestamp / 1000) };
  } catch (error) {
    told = { raised: `${error.name}: ${error.message}` };
  }
  console.log(JSON.stringify(told));
}
