// Answers questions about assertions: see verifiers_test.go.
import { createInterface } from "node:readline";

const [dir, issuer, audience] = process.argv.slice(2);
const { Verifier, KeysUnavailable } = await import(`${dir}/node/sso-verify.mjs`);
let now, verifier;
Date.now = () => now * 1000;
Object.defineProperty(performance, "now", { value: Date.now }); // Node 18 has it read-only

async function ask(values) {
  const rawHeaders = values.flatMap((value) => ["X-Sso-ASSERTION", value]);
  const req = { rawHeaders: ["Host", "x", ...rawHeaders, "Accept", "*/*"] };
  const statuses = [];
  const res = { writeHead: (status) => statuses.push(status), end: () => {} };
  await verifier.middleware(req, res, () => statuses.push(200));
  try {
    return { who: await verifier.verifyRequest(req), statuses };
  } catch (error) {
    return { error: error.message, unavailable: error instanceof KeysUnavailable, statuses };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  if (question.url) {
    try {
      verifier = new Verifier({ issuer, audience, jwksUrl: question.url, algorithms: question.algorithms });
      console.log("[{}]");
    } catch (error) {
      console.log(JSON.stringify([{ error: error.message }]));
    }
    continue;
  }
  now = question.now;
  console.log(JSON.stringify(await Promise.all(Array(question.times).fill(question.values).map(ask))));
}
