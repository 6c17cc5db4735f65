<?php
// Verifies the assertion of caddy-sso, as the Go package gateway/signing/verify does. How to use it: docs/verify.md.
// It needs PHP 7.4 on Unix, with openssl, json, and allow_url_fopen.
declare(strict_types=1);

namespace CaddySso;

require_once __DIR__ . '/keys.php';

/** The assertion is missing or not valid. */
class Invalid extends \RuntimeException {}
/** The request has no assertion. */
final class Missing extends Invalid {}
/** The key is not known, and the gateway's keys could not be fetched. */
final class KeysUnavailable extends \RuntimeException {}

const MAX_TOKEN = 64 << 10; // bytes
const FORBIDDEN = ['crit', 'b64', 'enc', 'zip', 'jwk', 'jku', 'x5c', 'x5u']; // they bring keys, or change what is signed
const CLAIMS = [
    'string' => ['iss', 'aud', 'sub', 'preferred_username', 'name', 'given_name', 'family_name', 'email', 'template', 'sid', 'idp', 'acr', 'jti'],
    'boolean' => ['email_verified'], 'array' => ['roles', 'groups', 'amr'], 'integer' => ['iat', 'nbf', 'exp', 'auth_time'],
];

function need(bool $condition, string $message): void
{
    if (!$condition) {
        throw new Invalid($message);
    }
}

/** Verifies the assertions of one site. */
final class Verifier
{
    private string $issuer, $audience, $url;
    private array $options;

    /** @param array $options algorithms: of ES256 and RS256; skew: seconds; header: its name; cache: a directory of its own */
    public function __construct(string $issuer, string $audience, string $jwksUrl, array $options = [])
    {
        $defaults = ['algorithms' => ['ES256'], 'skew' => 30, 'header' => 'X-Sso-Assertion', 'cache' => null];
        $o = $options + $defaults;
        if ($issuer === '' || $audience === '' || array_diff_key($o, $defaults) || !$o['algorithms'] || array_diff($o['algorithms'], ['ES256', 'RS256']) || $o['skew'] < 0) {
            throw new \InvalidArgumentException('issuer and audience are required, algorithms are ES256 and RS256, skew is not negative');
        }
        if (!preg_match('~^(https://[^/?#@]|http://(([\w.-]+\.)?localhost|127(\.\d+){3}|\[::1\])(:\d+)?/)~iD', $jwksUrl)) {
            throw new \InvalidArgumentException('jwksUrl must be https, or http on a loopback name');
        }
        [$this->issuer, $this->audience, $this->url, $this->options] = [$issuer, $audience, $jwksUrl, $o];
    }

    /** Returns the claims of the request's assertion, or answers 401 or 503 and ends the script. */
    public function authenticate(): array
    {
        try {
            return $this->verifyRequest();
        } catch (Invalid | KeysUnavailable $e) {
            refuse($e);
        }
    }

    /** Verifies the assertion of the request. The server has joined two headers of the name by a comma, which is in none. */
    public function verifyRequest(): array
    {
        if (!isset($_SERVER[$this->variable()])) {
            throw new Missing('no assertion');
        }
        return $this->verify($_SERVER[$this->variable()]);
    }

    /** Returns the name that the assertion has in $_SERVER. */
    public function variable(): string
    {
        return 'HTTP_' . strtoupper(strtr($this->options['header'], '-', '_'));
    }

    /** Returns the claims; one that is missing is empty. Throws Invalid or KeysUnavailable. */
    public function verify(string $token): array
    {
        need(strlen($token) <= MAX_TOKEN, 'more than ' . MAX_TOKEN . ' bytes');
        need(strspn($token, 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.') === strlen($token), 'not a compact JWS');
        need(substr_count($token, '.') === 2, 'not three parts');
        [$header, $payload, $signature] = array_map(__NAMESPACE__ . '\decode', explode('.', $token), ['header', 'payload', 'signature']);
        $header = readObject($header, 'header');
        foreach (FORBIDDEN as $name) {
            need(!array_key_exists($name, $header), "header parameter $name is not allowed");
        }
        foreach (['alg', 'kid', 'typ'] as $name) {
            $header[$name] = typed($header, $name, 'string', 'header parameter');
        }
        need($header['typ'] === 'JWT', 'header parameter typ is not JWT');
        need($header['kid'] !== '', 'header parameter kid is missing');
        need(in_array($header['alg'], $this->options['algorithms'], true), 'no compact JWS with an accepted algorithm');
        [$algorithm, $key] = (new Keys($this->url, $this->options['cache']))->find($header['kid']);
        need($header['alg'] === $algorithm, "algorithm is not the key's");
        if ($algorithm === 'ES256') { // JWS has r and s side by side, openssl wants DER
            need(strlen($signature) === 64, 'signature is not valid');
            $signature = der("\x30", der("\x02", positive(substr($signature, 0, 32))) . der("\x02", positive(substr($signature, 32))));
        }
        $signed = substr($token, 0, (int) strrpos($token, '.'));
        need(openssl_verify($signed, $signature, $key, OPENSSL_ALGO_SHA256) === 1, 'signature is not valid');
        return $this->check(readObject($payload, 'payload'), time());
    }

    private function check(array $claims, int $now): array
    {
        foreach (['iss', 'aud', 'sub', 'iat', 'nbf', 'exp'] as $name) {
            need(array_key_exists($name, $claims), "claim $name is missing");
        }
        if (is_array($claims['aud']) && count($claims['aud']) === 1) {
            $claims['aud'] = $claims['aud'][0];
        }
        foreach (CLAIMS as $type => $names) {
            foreach ($names as $name) {
                $who[$name] = typed($claims, $name, $type, 'claim');
            }
        }
        need($who['iss'] === $this->issuer, "issuer is \"{$who['iss']}\", not \"$this->issuer\"");
        need($who['aud'] === $this->audience, "audience is \"{$who['aud']}\", not \"$this->audience\"");
        need($who['sub'] !== '', 'claim sub is empty');
        $skew = $this->options['skew'];
        need($now < $who['exp'] + $skew, 'expired: compare the clocks of this machine and the gateway');
        need(max($who['nbf'], $who['iat']) <= $now + $skew, 'not valid yet: compare the clocks of this machine and the gateway');
        return $who;
    }
}

/** Decodes base64url without padding, strictly: bytes have one text only. */
function decode(string $text, string $what): string
{
    $data = base64_decode(strtr($text, '-_', '+/'), true);
    need($data !== false && rtrim(strtr(base64_encode($data), '+/', '-_'), '=') === $text, "$what is not base64url");
    return $data;
}

/** Returns a member, or the empty value of its type. null is of the wrong type. */
function typed(array $members, string $name, string $type, string $what)
{
    $value = array_key_exists($name, $members) ? $members[$name] : ['string' => '', 'boolean' => false, 'array' => [], 'integer' => 0][$type];
    $ok = gettype($value) === $type && ($type !== 'integer' || $value >= 0 && $value <= LAST_SECOND);
    need($ok && ($type !== 'array' || array_filter($value, 'is_string') === $value), "$what $name has the wrong type");
    return $value;
}

/** Answers that the request is refused, and ends the script. The log has the reason. */
function refuse(\Exception $e): void
{
    error_log('caddy-sso: request refused: ' . $e->getMessage());
    $later = $e instanceof KeysUnavailable;
    http_response_code($later ? 503 : 401);
    header('Cache-Control: no-store');
    header('Content-Type: text/plain; charset=utf-8');
    $later && header('Retry-After: 10');
    exit($later ? "sign-in can't be verified at the moment\n" : "no valid sign-in assertion\n");
}
