// Drives openid-client for the tests. Each line of standard input is a call in JSON, each
// line of standard output its answer: {"result": …} or {"error": {"code", "message"}}.
import { webcrypto } from "node:crypto";
import { createInterface } from "node:readline";

globalThis.crypto ??= webcrypto; // Node 18 has them, but not as globals
globalThis.CryptoKey ??= webcrypto.CryptoKey;
const modules = process.argv[2];
const oidc = await import(`${modules}/openid-client/build/index.js`);
const jose = await import(`${modules}/jose/dist/webapi/index.js`);

let config, client; // the client that is configured
const flows = new Map(); // by state

const authentication = {
  client_secret_basic: () => oidc.ClientSecretBasic(client.secret),
  client_secret_post: () => oidc.ClientSecretPost(client.secret),
  none: () => oidc.None(),
  private_key_jwt: async () => {
    const key = await jose.importPKCS8(client.key, client.key_alg);
    return oidc.PrivateKeyJwt({ key, kid: client.kid });
  },
};

const tokens = (t) => ({ ...t, claims: t.claims() });

const calls = {
  async configure(c) {
    client = c;
    const metadata = { id_token_signed_response_alg: c.alg, userinfo_signed_response_alg: c.userinfo_alg };
    config = await oidc.discovery(new URL(c.issuer), c.client_id, metadata, await authentication[c.method]());
    oidc.enableNonRepudiationChecks(config); // verify signatures, too, not TLS alone
    return config.serverMetadata();
  },
  async begin({ params }) {
    const flow = { state: oidc.randomState(), nonce: oidc.randomNonce(), verifier: oidc.randomPKCECodeVerifier(), maxAge: params.max_age };
    flows.set(flow.state, flow);
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: client.redirect_uri, scope: client.scope, state: flow.state, nonce: flow.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(flow.verifier), code_challenge_method: "S256", ...params,
    });
    return { url: url.href, state: flow.state };
  },
  async finish({ url, form, state, verifier }) {
    const flow = flows.get(state);
    const answer = form === undefined ? new URL(url) : new Request(url, {
      method: "POST", body: form, headers: { "Content-Type": "application/x-www-form-urlencoded" },
    });
    return tokens(await oidc.authorizationCodeGrant(config, answer, {
      expectedState: flow.state, expectedNonce: flow.nonce, pkceCodeVerifier: verifier ?? flow.verifier,
      maxAge: flow.maxAge === undefined ? undefined : Number(flow.maxAge), idTokenExpected: true,
    }));
  },
  userinfo: ({ token, sub }) => oidc.fetchUserInfo(config, token, sub),
  refresh: async ({ token }) => tokens(await oidc.refreshTokenGrant(config, token)),
  introspect: ({ token }) => oidc.tokenIntrospection(config, token),
  revoke: async ({ token }) => (await oidc.tokenRevocation(config, token)) ?? {},
  end_session: ({ params }) => ({ url: oidc.buildEndSessionUrl(config, params).href }),
  async logout_token({ token }) {
    const meta = config.serverMetadata();
    const { payload, protectedHeader } = await jose.jwtVerify(token, jose.createRemoteJWKSet(new URL(meta.jwks_uri)), {
      issuer: meta.issuer, audience: client.client_id, algorithms: [client.alg], typ: "logout+jwt", maxTokenAge: "2m",
      requiredClaims: ["jti", "events", "exp"],
    });
    return { ...payload, header: protectedHeader };
  },
};

// code returns the provider's error code, or else the library's. The cause of a 401 is its
// challenges.
function code(err) {
  if (Array.isArray(err.cause)) return err.cause[0]?.parameters?.error ?? String(err.status);
  return err.error ?? err.cause?.error ?? err.code ?? err.name;
}

const message = (err) => [err, err.cause, err.cause?.cause].filter(Boolean).map((e) => e.message ?? JSON.stringify(e)).join(": ");

for await (const line of createInterface({ input: process.stdin })) {
  const { call, args } = JSON.parse(line);
  let answer;
  try {
    answer = { result: await calls[call](args) };
  } catch (err) {
    answer = { error: { code: code(err), message: message(err) } };
  }
  console.log(JSON.stringify(answer));
}
