<?php
// Signs people in to PHP apps that trust REMOTE_USER. A file of your own, named in auto_prepend_file, calls it: docs/verify.md.
declare(strict_types=1);

namespace CaddySso;

require_once __DIR__ . '/verify.php';

// Variables in which apps look for a person. Those with HTTP_ are headers of the request, PHP_AUTH_ and AUTH_ come from
// Authorization: anybody who reaches PHP can send them.
const SPOOFABLE = '/^(REDIRECT_|HTTP_|X_)*(PHP_AUTH_|AUTH_TYPE$|(REMOTE|AUTH|AUTH_REQUEST|LOGON|FORWARDED|WEBAUTH)_(USER|PREFERRED|EMAIL|NAME|GROUP|ROLE))/';

/**
 * Sets REMOTE_USER to the user name of a valid assertion, and returns the claims. Other requests are answered by 401 or
 * 503, and the script ends. With $public, a request without an assertion goes on, with no REMOTE_USER: null is returned.
 */
function remoteUser(Verifier $verifier, bool $public = false): ?array
{
    if (PHP_SAPI === 'cli') {
        return null; // a cron job has no request
    }
    foreach (array_map('strval', array_keys($_SERVER)) as $name) {
        $basic = preg_match('/^(REDIRECT_)*HTTP_AUTHORIZATION$/', $name) && preg_match('/^\s*(Basic|Digest)\b/i', $_SERVER[$name]);
        if ($basic || preg_match(SPOOFABLE, $name)) {
            unset($_SERVER[$name], $_ENV[$name]);
            putenv($name);
        }
    }
    try {
        $who = $verifier->verifyRequest();
        need($who['preferred_username'] !== '', 'claim preferred_username is empty');
        $_SERVER['REMOTE_USER'] = $who['preferred_username'];
        putenv('REMOTE_USER=' . $who['preferred_username']);
    } catch (Missing $e) {
        $public || refuse($e);
        $who = null;
    } catch (Invalid | KeysUnavailable $e) {
        refuse($e);
    }
    // Behind FastCGI, getenv() still returns the web server's own REMOTE_USER, which wins in Icinga Web 2.
    foreach (['REMOTE_USER', 'REDIRECT_REMOTE_USER'] as $name) {
        if (!in_array(getenv($name), [false, '', $_SERVER['REMOTE_USER'] ?? ''], true)) {
            refuse(new Invalid("the web server sets $name to another user"));
        }
    }
    return $who;
}
