<?php
// Signs people in to PHP apps that trust REMOTE_USER. A file of your own, named in auto_prepend_file, calls it: docs/verify.md.
declare(strict_types=1);

namespace CaddySso;

require_once __DIR__ . '/verify.php';

// Variables in which apps look for a person. Those with HTTP_ are headers of the request, PHP_AUTH_ and AUTH_ come from
// Authorization: anybody who reaches PHP can send them.
const SPOOFABLE = '/^(REDIRECT_|HTTP_|X_)*(PHP_AUTH_|AUTH_TYPE$|(REMOTE|AUTH|AUTH_REQUEST|LOGON|FORWARDED|WEBAUTH)_(USER|PREFERRED|EMAIL|NAME|GROUP|ROLE))/';

// Headers of other gateways, as in docs/headers.md, but X-Access-Token: it proves itself to the app, as Authorization does.
const ALIASES = '
    X-Forwarded-User X-Forwarded-Username X-Forwarded-User-Id X-Forwarded-Userid X-Forwarded-Uid X-Forwarded-Login
    X-Forwarded-Subject X-Forwarded-Groups X-Forwarded-Group X-Forwarded-Roles X-Forwarded-Role X-Forwarded-Email
    X-Forwarded-Mail X-Forwarded-Name X-Forwarded-Fullname X-Forwarded-Full-Name X-Forwarded-Displayname
    X-Forwarded-Display-Name X-Forwarded-Preferred-Username X-Forwarded-Access-Token X-Forwarded-Id-Token
    X-Auth-Request-* X-Remote-User X-Remote-User-* X-Remote-Username X-Remote-Uid X-Remote-Group X-Remote-Groups
    X-Remote-Role X-Remote-Roles X-Remote-Email X-Remote-Mail X-Remote-Name X-Remote-Fullname X-Remote-Full-Name
    X-Remote-Displayname X-Remote-Display-Name X-Remote-Extra-* Http-Remote-User Remote-User-Group Remote-User-Groups
    Remote-User-Email Remote-User-Name Remote-User-First-Name Remote-User-Last-Name Remote-Username Remote-Userid
    Remote-Fullname Remote-Full-Name Remote-Displayname Remote-Display-Name Remote-Mail Remote-Group Remote-Role
    Auth-User Auth-Mail Auth-Groups X-Webauth-* X-Proxy-User X-Proxy-Roles X-Proxy-Ext-* X-Proxy-Remote-User
    Proxy-Remote-User X-Auth-User X-Auth-Username X-Auth-Userid X-Auth-User-Id X-Auth-Subject X-Auth-Email X-Auth-Name
    X-Auth-Groups X-Auth-Roles X-Authenticated-* X-User X-Username X-User-Name X-User-Email X-User-Groups X-User-Roles
    X-Email X-Jwt-Assertion X-Jwt-Payload X-Jwt-Claim-* X-Id-Token X-Userinfo X-Token-Subject X-Token-User-*
    X-Consumer-* X-Anonymous-Consumer X-Credential-* X-Endpoint-Api-Userinfo X-Apigateway-Api-Userinfo
    Sec-Istio-Auth-Userinfo Impersonate-* Client-Cert Client-Cert-Chain X-Forwarded-Client-Cert
    X-Forwarded-Tls-Client-Cert X-Forwarded-Tls-Client-Cert-* X-Ssl-Client-* Ssl-Client-* X-Ssl-Cert X-Ssl-Subject
    X-Client-Cert X-Client-Cert-* X-Client-Dn X-Client-Verify X-Amzn-Mtls-* X-Arr-Clientcert Cf-Client-Cert-*
    X-Authentik-* X-Authelia-* X-Vouch-* X-Pomerium-* Teleport-Jwt-Assertion X-Organizr-* X-Sandstorm-* X-Cosmos-User
    X-Cosmos-Role Ynh-User Ynh-User-* X-Goog-Authenticated-* X-Goog-Iap-* X-Appengine-User-* X-Amzn-Oidc-* X-Amzn-Ava-*
    X-Ms-Client-Principal X-Ms-Client-Principal-* X-Ms-Token-* X-Iisnode-* Ms-Aspnetcore-* Cf-Access-* Tailscale-*
    Oidc-* Mellon-* Shib-* Eppn Persistent-Id Targeted-Id Affiliation Unscoped-Affiliation Entitlement Cas-* Sm-*
    Iv-User Iv-User-L Iv-Groups Iv-Creds Oam-* Osso-*
';

/**
 * Sets REMOTE_USER to the user name of a valid assertion, and returns the claims. Other requests are answered by 401 or
 * 503, and the script ends. With $public, a request without an assertion goes on, with no REMOTE_USER: null is returned.
 */
function remoteUser(Verifier $verifier, bool $public = false): ?array
{
    if (PHP_SAPI === 'cli') {
        return null; // a cron job has no request
    }
    $aliases = '/^(REDIRECT_)*HTTP_(' . strtr(preg_replace('/\s+/', '|', trim(ALIASES)), ['-' => '_', '*' => '.*']) . ')$/iD';
    foreach (array_diff(array_map('strval', array_keys($_SERVER)), [$verifier->variable()]) as $name) {
        $basic = preg_match('/^(REDIRECT_)*HTTP_AUTHORIZATION$/', $name) && preg_match('/^\s*(Basic|Digest)\b/i', $_SERVER[$name]);
        if ($basic || preg_match(SPOOFABLE, $name) || preg_match($aliases, $name)) {
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
