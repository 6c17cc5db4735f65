// Verifies the assertion of caddy-sso, as the Go package gateway/signing/verify does. How to use it: docs/verify.md.
// It needs Node.js 18, and no package.
import { verify as verifySignature } from "node:crypto";
import { Invalid, Keys, KeysUnavailable, decode, need, readObject, typed } from "./sso-keys.mjs";

export { Invalid, KeysUnavailable };

const MAX_TOKEN = 64 << 10; // bytes
const FORBIDDEN = ["crit", "b64", "enc", "zip", "jwk", "jku", "x5c", "x5u"]; // they bring keys, or change what is signed
const REQUIRED = ["iss", "aud", "sub", "iat", "nbf", "exp"];
const CLAIMS = {
  string: ["iss", "aud", "sub", "preferred_username", "name", "given_name", "family_name", "email", "template", "sid", "idp", "acr", "jti"],
  boolean: ["email_verified"],
  list: ["roles", "groups", "amr"],
  date: ["iat", "nbf", "exp", "auth_time"],
};

/** Verifies the assertions of one site. A program makes one, since it keeps the keys. */
export class Verifier {
  #config;
  #keys;

  /** @param config issuer, audience, jwksUrl; if need be algorithms, skew (seconds), header, refused (a function, for a log) */
  constructor({ issuer, audience, jwksUrl, algorithms = ["ES256"], skew = 30, header = "X-Sso-Assertion", refused = () => {} }) {
    if (!issuer || !audience || !algorithms.length || !algorithms.every((a) => a === "ES256" || a === "RS256") || !(skew >= 0))
      throw new TypeError("issuer and audience are required, algorithms are ES256 and RS256, skew is not negative");
    this.#config = { issuer, audience, algorithms, skew, header: header.toLowerCase(), refused };
    this.#keys = new Keys(jwksUrl);
  }

  /** Lets requests with a valid assertion through, with req.sso; others get 401 or 503. For Express, Connect and node:http. */
  middleware = async (req, res, next) => {
    try {
      req.sso = await this.verifyRequest(req);
    } catch (error) {
      this.#config.refused(req, error);
      const later = error instanceof KeysUnavailable;
      res.writeHead(later ? 503 : 401, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store", ...(later && { "retry-after": "10" }) });
      return res.end(later ? "sign-in can't be verified at the moment\n" : "no valid sign-in assertion\n");
    }
    return next();
  };

  /** Verifies the assertion of a request, also one that asks for a WebSocket. */
  async verifyRequest(req) {
    // req.headers joins two headers of one name.
    const values = req.rawHeaders.filter((_, i, all) => i % 2 && all[i - 1].toLowerCase() === this.#config.header);
    need(values.length > 0, "no assertion");
    need(values.length === 1, `${values.length} headers of the name`);
    return this.verify(values[0]);
  }

  /** Returns the claims; one that is missing is empty. Throws Invalid or KeysUnavailable. */
  async verify(token) {
    const { issuer, audience, algorithms, skew } = this.#config;
    need(token.length <= MAX_TOKEN, `more than ${MAX_TOKEN} bytes`);
    need(/^[A-Za-z0-9_.-]*$/.test(token), "not a compact JWS");
    const parts = token.split(".");
    need(parts.length === 3, "not three parts");
    const [head, payload, signature] = parts.map((part, i) => decode(part, ["header", "payload", "signature"][i]));
    const header = readObject(head, "header");
    for (const name of FORBIDDEN) need(!Object.hasOwn(header, name), `header parameter ${name} is not allowed`);
    const [alg, kid, typ] = ["alg", "kid", "typ"].map((name) => typed(header, name, "string", "header parameter"));
    need(typ === "JWT", "header parameter typ is not JWT");
    need(kid, "header parameter kid is missing");
    need(algorithms.includes(alg), "no compact JWS with an accepted algorithm");
    const key = await this.#keys.find(kid);
    need(alg === key.alg, "algorithm is not the key's");
    const signed = Buffer.from(token.slice(0, token.lastIndexOf(".")));
    need(alg === "RS256" || signature.length === 64, "signature is not valid");
    need(verifySignature("sha256", signed, { key: key.public, dsaEncoding: "ieee-p1363" }, signature), "signature is not valid");

    const claims = readObject(payload, "payload");
    for (const name of REQUIRED) need(Object.hasOwn(claims, name), `claim ${name} is missing`);
    if (Array.isArray(claims.aud) && claims.aud.length === 1) [claims.aud] = claims.aud;
    const who = {};
    for (const [type, names] of Object.entries(CLAIMS)) for (const name of names) who[name] = typed(claims, name, type, "claim");
    const now = Date.now() / 1000;
    need(who.iss === issuer, `issuer is ${JSON.stringify(who.iss)}, not "${issuer}"`);
    need(who.aud === audience, `audience is ${JSON.stringify(who.aud)}, not "${audience}"`);
    need(who.sub, "claim sub is empty");
    need(now < who.exp + skew, "expired: compare the clocks of this machine and the gateway");
    need(Math.max(who.nbf, who.iat) <= now + skew, "not valid yet: compare the clocks of this machine and the gateway");
    return who;
  }
}
