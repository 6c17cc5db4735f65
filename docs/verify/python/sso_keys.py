"""The gateway's keys and strict parsing, for sso_verify.py."""
import base64, contextlib, http.client, json, re, threading, time
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa

MAX_JWKS, LAST_SECOND = 256 << 10, 253402300799  # bytes, end of the year 9999
TIMEOUT, REFETCH, FRESH, USABLE = 10, 10, 3600, 86400  # seconds


class Invalid(Exception):
    """The assertion is missing or not valid."""


class KeysUnavailable(Exception):
    """The key is not known, and the gateway's keys could not be fetched."""


def need(condition, message):
    if not condition:
        raise Invalid(message)


class Keys:
    """The gateway's keys. One thread fetches them, at most every REFETCH seconds. If that fails, the old ones stay."""

    def __init__(self, url):
        self.url, self.lock, self.keys, self.error = urlsplit(url), threading.Lock(), {}, None
        self.fetched = self.tried = float("-inf")
        self.name = self.url._replace(netloc=self.url.netloc.rpartition("@")[2]).geturl()  # for messages
        local = re.fullmatch(r"(.+\.)?localhost|127(\.\d+){3}|::1", self.url.hostname or "")
        if not self.url.hostname or self.url.scheme != "https" and not (self.url.scheme == "http" and local):
            raise ValueError("jwks_url must be https, or http on a loopback name")

    def find(self, kid):
        key = self.known(kid, USABLE)
        if key and self.known(kid, FRESH):
            return key
        if self.lock.acquire(blocking=not key):  # a thread that has a key does not wait for another's fetch
            try:
                if time.monotonic() - self.tried >= REFETCH:
                    self.tried = time.monotonic()
                    self.keys, self.fetched, self.error = read_keys(self.fetch(self.tried + TIMEOUT)), self.tried, None
            except Exception as e:
                self.error = f"fetching the JWK Set at {self.name}: {e or type(e).__name__}"
            finally:
                self.lock.release()
        key = self.known(kid, USABLE)
        if not key and self.error:
            raise KeysUnavailable(f"the gateway's keys are not available: {self.error}")
        need(key, "signed by no key of the gateway's JWK Set")
        return key

    def known(self, kid, seconds):
        return self.keys.get(kid) if time.monotonic() - self.fetched < seconds else None

    def fetch(self, deadline):
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        connection, body = kind(self.url.hostname, self.url.port, timeout=TIMEOUT), b""
        with contextlib.closing(connection):
            connection.request("GET", self.url._replace(scheme="", netloc="").geturl())
            response = connection.getresponse()  # http.client follows no redirects
            need(response.status == 200, f"status {response.status}")
            while chunk := response.read1(MAX_JWKS):
                body += chunk
                need(len(body) <= MAX_JWKS and time.monotonic() < deadline, "the answer is too long")
        return body


def read_keys(body):
    keys, jwks = {}, read_object(body, "JWK Set").get("keys")
    for jwk in jwks if type(jwks) is list else []:
        try:
            keys.setdefault(jwk["kid"], read_key(jwk))
        except Exception:  # a key that can't be used spoils only itself
            continue
    need(keys, "no key in it can be used")
    return keys


def read_key(jwk):
    """Returns a public key with its algorithm: each key is for one only."""
    need(typed(jwk, "kid", str) and "d" not in jwk and jwk.get("use", "sig") == "sig", "not a public key for signatures")
    numbers = {name: int.from_bytes(decode(jwk[name]), "big") for name in ("x", "y", "n", "e") if name in jwk}
    if jwk["kty"] == "EC" and jwk["crv"] == "P-256":
        alg, key = "ES256", ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], ec.SECP256R1()).public_key()
    elif jwk["kty"] == "RSA" and 2048 <= numbers["n"].bit_length() <= 8192:
        alg, key = "RS256", rsa.RSAPublicNumbers(numbers["e"], numbers["n"]).public_key()
    need(jwk.get("alg", alg) == alg, "key of another algorithm")
    return alg, key


def decode(text, what="key"):
    """Decodes base64url without padding, strictly: bytes have one text only."""
    data = base64.urlsafe_b64decode(text + "===") if len(text) % 4 != 1 else b""
    need(base64.urlsafe_b64encode(data).rstrip(b"=") == text.encode(), f"{what} is not base64url")
    return data


def read_object(data, what):
    def once(members):
        need(len(dict(members)) == len(members), f"{what} is a JSON object with one name twice")
        return dict(members)
    try:
        value = json.loads(data.decode(), object_pairs_hook=once, parse_constant=int)  # int refuses NaN
    except UnicodeDecodeError:
        raise Invalid(f"{what} is not UTF-8") from None
    except (ValueError, RecursionError):
        value = None
    need(type(value) is dict, f"{what} is not a JSON object")
    return value


def typed(members, name, kind, what="claim"):
    """Returns a member, or the empty value of its type. null is of the wrong type, and True is no int."""
    value = members.get(name, kind())
    ok = type(value) is kind and (kind is not list or all(type(text) is str for text in value))
    need(ok and (kind is not int or 0 <= value <= LAST_SECOND), f"{what} {name} has the wrong type")
    return value
