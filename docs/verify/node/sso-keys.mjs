// The gateway's keys and strict parsing, for sso-verify.mjs.
import { createPublicKey } from "node:crypto";

const MAX_JWKS = 256 << 10, LAST_SECOND = 253402300799; // bytes, end of the year 9999
const TIMEOUT = 10_000, REFETCH = 10_000, FRESH = 3_600_000, USABLE = 86_400_000; // milliseconds

/** The assertion is missing or not valid. */
export class Invalid extends Error {}
/** The key is not known, and the gateway's keys could not be fetched. */
export class KeysUnavailable extends Error {}

export function need(condition, message) {
  if (!condition) throw new Invalid(message);
}

/** The gateway's keys. There is one fetch at a time, at most every REFETCH. If it fails, the old keys stay. */
export class Keys {
  #url;
  #keys = new Map();
  #error;
  #fetched = -Infinity;
  #tried = -Infinity;
  #fetching;

  constructor(url) {
    this.#url = new URL(url);
    const local = /^((.+\.)?localhost|127(\.\d+){3}|\[::1\])$/.test(this.#url.hostname);
    if (this.#url.protocol !== "https:" && !(this.#url.protocol === "http:" && local))
      throw new TypeError("jwksUrl must be https, or http on a loopback name");
  }

  async find(kid) {
    const known = this.#known(kid, USABLE);
    if (known && this.#known(kid, FRESH)) return known;
    if (!this.#fetching && performance.now() - this.#tried >= REFETCH) {
      this.#tried = performance.now();
      this.#fetching = this.#fetch().catch((error) => { this.#error = error.cause ?? error; }).finally(() => { this.#fetching = undefined; });
    }
    if (known) return known; // a request that has a key does not wait for the fetch
    await this.#fetching;
    const key = this.#known(kid, USABLE);
    if (!key && this.#error) throw new KeysUnavailable(`the gateway's keys are not available: fetching the JWK Set at ${this.#url}: ${this.#error.message || this.#error.code}`);
    need(key, "signed by no key of the gateway's JWK Set");
    return key;
  }

  #known(kid, age) {
    return performance.now() - this.#fetched < age ? this.#keys.get(kid) : undefined;
  }

  async #fetch() {
    const began = this.#tried, chunks = [];
    const res = await fetch(this.#url, { redirect: "error", signal: AbortSignal.timeout(TIMEOUT) });
    need(res.status === 200, `status ${res.status}`);
    let size = 0;
    for await (const chunk of res.body) {
      size += chunk.length;
      need(size <= MAX_JWKS, "the answer is too long");
      chunks.push(chunk);
    }
    this.#keys = readKeys(Buffer.concat(chunks));
    [this.#fetched, this.#error] = [began, undefined];
  }
}

function readKeys(body) {
  const keys = new Map(), set = readObject(body, "JWK Set").keys;
  for (const jwk of Array.isArray(set) ? set : []) {
    try {
      if (!keys.has(jwk.kid)) keys.set(jwk.kid, readKey(jwk));
    } catch {
      continue; // a key that can't be used spoils only itself
    }
  }
  need(keys.size > 0, "no key in it can be used");
  return keys;
}

/** Returns a public key with its algorithm: each key is for one only. */
function readKey(jwk) {
  need(jwk.kid && typeof jwk.kid === "string" && !("d" in jwk) && (jwk.use ?? "sig") === "sig", "not a public key for signatures");
  const key = createPublicKey({ key: jwk, format: "jwk" });
  const { namedCurve, modulusLength } = key.asymmetricKeyDetails;
  const alg = key.asymmetricKeyType === "ec" && namedCurve === "prime256v1" ? "ES256" : "RS256";
  need(alg === "ES256" || (key.asymmetricKeyType === "rsa" && modulusLength >= 2048 && modulusLength <= 8192), "not a key for ES256 or RS256");
  need((jwk.alg ?? alg) === alg, "key of another algorithm");
  return { alg, public: key };
}

/** Decodes base64url without padding, strictly: bytes have one text only. */
export function decode(text, what) {
  const data = Buffer.from(text, "base64url");
  need(data.toString("base64url") === text, `${what} is not base64url`);
  return data;
}

/** Returns a JSON object. JSON.parse takes the last of two members of one name. */
export function readObject(data, what) {
  let text, object;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new Invalid(`${what} is not UTF-8`);
  }
  try {
    object = JSON.parse(text);
  } catch {} // object stays undefined
  need(typeof object === "object" && object !== null && !Array.isArray(object), `${what} is not a JSON object`);
  let depth = 0, names = 0;
  for (const [token] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*:)?|[[\]{}]/g)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (depth === 1 && token.endsWith(":")) names++;
  }
  need(names === Object.keys(object).length, `${what} is a JSON object with one name twice`);
  return object;
}

/** Returns a member, or the empty value of its type. null is of the wrong type. */
export function typed(object, name, type, what) {
  const value = Object.hasOwn(object, name) ? object[name] : { string: "", boolean: false, list: [], date: 0 }[type];
  const ok = type === "list" ? Array.isArray(value) && value.every((text) => typeof text === "string")
    : type === "date" ? Number.isInteger(value) && value >= 0 && value <= LAST_SECOND : typeof value === type;
  need(ok, `${what} ${name} has the wrong type`);
  return value;
}
