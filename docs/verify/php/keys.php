<?php
// The gateway's keys, for verify.php.
declare(strict_types=1);

namespace CaddySso;

const MAX_JWKS = 256 << 10, LAST_SECOND = 253402300799; // bytes, end of the year 9999
const TIMEOUT = 10, REFETCH = 10, FRESH = 3600, USABLE = 86400; // seconds

/** The gateway's keys, in a file that all PHP processes of this user share. */
final class Keys
{
    private string $url, $name, $dir, $file;

    public function __construct(string $url, ?string $dir)
    {
        $uid = function_exists('posix_geteuid') ? posix_geteuid() : fstat(tmpfile())['uid'];
        [$this->url, $this->dir] = [$url, $dir ?? sys_get_temp_dir() . "/caddy-sso-$uid"];
        @mkdir($this->dir, 0700);
        clearstatcache();
        $stat = @lstat($this->dir); // of a symbolic link: the link's own
        if (!$stat || ($stat['mode'] & 0170077) !== 0040000 || $stat['uid'] !== $uid) {
            throw new KeysUnavailable("$this->dir must be a directory of user $uid that nobody else can enter; see the option cache");
        }
        $this->file = $this->dir . '/' . hash('sha256', $url);
        $this->name = preg_replace('~//[^/]*@~', '//', $url); // for messages
    }

    /** Returns algorithm and key. One process fetches at a time, at most every 10 s. If that fails, the old keys stay. */
    public function find(string $kid): array
    {
        $cache = $this->load();
        $key = $this->known($cache, $kid, USABLE);
        if ($key && $this->known($cache, $kid, FRESH)) {
            return $key;
        }
        $lock = fopen("$this->file.lock", 'c');
        if ($lock && flock($lock, $key ? LOCK_EX | LOCK_NB : LOCK_EX)) { // who has a key does not wait for another's fetch
            $cache = $this->load();
            if (abs(time() - $cache['tried']) >= REFETCH) {
                $cache = $this->fetch($cache);
            }
            flock($lock, LOCK_UN);
            $key = $this->known($cache, $kid, USABLE);
        }
        if (!$key && $cache['error'] !== '') {
            throw new KeysUnavailable("the gateway's keys are not available: fetching the JWK Set at $this->name: " . $cache['error']);
        }
        need($key !== null, "signed by no key of the gateway's JWK Set");
        return $key;
    }

    private function load(): array
    {
        return (array) json_decode((string) @file_get_contents($this->file), true) + ['keys' => [], 'fetched' => 0, 'tried' => 0, 'error' => ''];
    }

    private function known(array $cache, string $kid, int $seconds): ?array
    {
        return abs(time() - $cache['fetched']) < $seconds ? $cache['keys'][$kid] ?? null : null;
    }

    private function fetch(array $cache): array
    {
        $cache['tried'] = time();
        try {
            $http = ['timeout' => TIMEOUT, 'follow_location' => 0, 'ignore_errors' => true];
            $stream = @fopen($this->url, 'r', false, stream_context_create(['http' => $http]));
            need($stream !== false, preg_replace('~^fopen\(.*?\): ~', '', error_get_last()['message'] ?? 'no answer'));
            $status = stream_get_meta_data($stream)['wrapper_data'][0] ?? '';
            need(preg_match('~^HTTP/\S+ 200\b~', $status) === 1, "status $status");
            for ($body = '', $end = microtime(true) + TIMEOUT; !feof($stream) && strlen($body) <= MAX_JWKS;) {
                $body .= fread($stream, MAX_JWKS);
                need(microtime(true) < $end, 'the answer takes too long');
            }
            need(strlen($body) <= MAX_JWKS, 'the answer is too long');
            $cache = ['keys' => readKeys($body), 'fetched' => $cache['tried'], 'error' => ''] + $cache;
        } catch (Invalid $e) {
            $cache['error'] = $e->getMessage();
        }
        file_put_contents("$this->file.new", json_encode($cache, JSON_INVALID_UTF8_SUBSTITUTE));
        rename("$this->file.new", $this->file);
        return $cache;
    }
}

function readKeys(string $body): array
{
    $keys = [];
    $set = readObject($body, 'JWK Set')['keys'] ?? [];
    foreach (is_array($set) ? $set : [] as $jwk) {
        try {
            $kid = typed((array) $jwk, 'kid', 'string', 'member');
            $keys += $kid !== '' ? [$kid => readKey((array) $jwk)] : [];
        } catch (Invalid | \TypeError $e) {
            continue; // a key that can't be used spoils only itself
        }
    }
    need($keys !== [], 'no key in it can be used');
    return $keys;
}

/** Returns the algorithm of a public key, and the key in PEM. Each key is for one algorithm only. */
function readKey(array $jwk): array
{
    need(!isset($jwk['d']) && ($jwk['use'] ?? 'sig') === 'sig', 'not a public key for signatures');
    if (($jwk['kty'] ?? '') === 'EC' && ($jwk['crv'] ?? '') === 'P-256') {
        [$x, $y] = [decode($jwk['x'] ?? '', 'x'), decode($jwk['y'] ?? '', 'y')];
        need(strlen($x) === 32 && strlen($y) === 32, 'not a point of the curve');
        [$algorithm, $id, $public] = ['ES256', '301306072a8648ce3d020106082a8648ce3d030107', "\x04$x$y"];
    } else {
        need(($jwk['kty'] ?? '') === 'RSA', 'not a key for ES256 or RS256');
        $numbers = der("\x02", positive(decode($jwk['n'] ?? '', 'n'))) . der("\x02", positive(decode($jwk['e'] ?? '', 'e')));
        [$algorithm, $id, $public] = ['RS256', '300d06092a864886f70d0101010500', der("\x30", $numbers)];
    }
    $spki = base64_encode(der("\x30", hex2bin($id) . der("\x03", "\0$public"))); // RFC 5280 4.1
    $pem = "-----BEGIN PUBLIC KEY-----\n" . chunk_split($spki, 64, "\n") . "-----END PUBLIC KEY-----\n";
    $key = openssl_pkey_get_public($pem); // false if the point is not on the curve
    $bits = $key ? openssl_pkey_get_details($key)['bits'] : 0;
    need($bits === 256 && $algorithm === 'ES256' || $bits >= 2048 && $bits <= 8192, 'key is broken or too short');
    need(($jwk['alg'] ?? $algorithm) === $algorithm, 'key of another algorithm');
    return [$algorithm, $pem];
}

function der(string $tag, string $value): string
{
    return $tag . (strlen($value) < 128 ? chr(strlen($value)) : "\x82" . pack('n', strlen($value))) . $value;
}

/** Returns a number's shortest bytes whose first bit is 0, as DER has it. */
function positive(string $number): string
{
    $number = ltrim($number, "\0");
    return $number === '' || ord($number[0]) > 127 ? "\0$number" : $number;
}

/** Returns the members of a JSON object. json_decode takes the last of two members of one name. */
function readObject(string $json, string $what): array
{
    need(preg_match('//u', $json) === 1, "$what is not UTF-8");
    $object = json_decode($json);
    need($object instanceof \stdClass, "$what is not a JSON object");
    preg_match_all('/"[^"\\\\]*+(?:\\\\.[^"\\\\]*+)*+"(\s*+:)?|[][{}]/', $json, $tokens);
    $depth = $names = 0;
    foreach ($tokens[0] as $token) {
        $depth += strspn($token, '[{') - strspn($token, ']}');
        $names += $depth === 1 && substr($token, -1) === ':' ? 1 : 0;
    }
    need($names === count((array) $object), "$what is a JSON object with one name twice");
    return (array) $object;
}
