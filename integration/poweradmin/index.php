<?php
// The pages of the double: see vendor/autoload.php.

use Poweradmin\Application\Service\CsrfTokenService;
use Poweradmin\Application\Service\UserProvisioningService;
use Poweradmin\Domain\ValueObject\OidcUserInfo;
use Poweradmin\Infrastructure\Configuration\ConfigurationManager;
use Poweradmin\Infrastructure\Database\Accounts;
use Poweradmin\Infrastructure\Logger\Logger;

require_once __DIR__ . '/vendor/autoload.php';
require_once __DIR__ . '/lib/Application/Helpers/StartupHelpers.php';

const IDLE = 1800; // seconds

$config = ConfigurationManager::getInstance();
$config->initialize();
$accounts = new Accounts($config->getAll()['database']['file'] . '.json');
initializeSession();

function go(string $to): never
{
    header("Location: $to", true, 302);
    exit;
}

function page(string $html): never
{
    header('Content-Type: text/html; charset=utf-8');
    exit("<!DOCTYPE html><title>Poweradmin</title>$html");
}

function leave(): never
{
    session_regenerate_id(true);
    session_unset();
    go('/login');
}

function login(ConfigurationManager $config): never
{
    if ($_SERVER['REQUEST_METHOD'] === 'POST') {
        $good = hash_equals($_SESSION['login_token'] ?? ' ', $_POST['_token'] ?? '') && $_POST['username'] === 'admin' && $_POST['password'] === 'admin-secret-1';
        if (!$good) {
            go('/login');
        }
        session_regenerate_id(true);
        $_SESSION = ['userid' => 1, 'userlogin' => 'admin', 'name' => 'Administrator', 'auth_method_used' => 'sql', 'userpwd' => 'x'] + $_SESSION;
        $_SESSION['lastmod'] = time();
        (new CsrfTokenService())->ensureTokenExists();
        go('/');
    }
    if (isset($_SESSION['userid'])) {
        go('/');
    }
    $_SESSION['login_token'] = bin2hex(random_bytes(20));
    page("<form method=post><input type=\"hidden\" name=\"_token\" value=\"{$_SESSION['login_token']}\"></form>" . htmlspecialchars($_SESSION['message'] ?? ''));
}

/** PKCE and a state, no nonce, and a parameter that means nothing. */
function beginOpenID(ConfigurationManager $config): never
{
    $id = $_GET['provider'] ?? '';
    $provider = $config->get('oidc', 'providers')[$id] ?? throw new LogicException('no such provider');
    $found = json_decode(file_get_contents($provider['metadata_url']), true);
    [$state, $verifier] = [bin2hex(random_bytes(16)), bin2hex(random_bytes(32))];
    $_SESSION['oidc_state'] = $state;
    $_SESSION['oidc_provider'] = $id;
    $_SESSION['oidc_code_verifier'] = $verifier;
    go($found['authorization_endpoint'] . '?' . http_build_query([
        'state' => $state, 'scope' => $provider['scopes'], 'response_type' => 'code', 'approval_prompt' => 'auto',
        'code_challenge' => rtrim(strtr(base64_encode(hash('sha256', $verifier, true)), '+/', '-_'), '='), 'code_challenge_method' => 'S256',
        'redirect_uri' => $config->get('interface', 'application_url') . '/oidc/callback', 'client_id' => $provider['client_id'],
    ]));
}

/** The client's secret goes in the body. Identity comes from userinfo. */
function endOpenID(ConfigurationManager $config, Accounts $accounts): never
{
    if (!isset($_SESSION['oidc_state']) || ($_GET['state'] ?? '') !== $_SESSION['oidc_state'] || !isset($_GET['code'])) {
        $_SESSION['message'] = 'Authentication failed: ' . ($_GET['error'] ?? 'Invalid state parameter');
        go('/login');
    }
    $id = $_SESSION['oidc_provider'];
    $provider = $config->get('oidc', 'providers')[$id];
    $found = json_decode(file_get_contents($provider['metadata_url']), true);
    $form = http_build_query([
        'client_id' => $provider['client_id'], 'client_secret' => $provider['client_secret'], 'grant_type' => 'authorization_code',
        'redirect_uri' => $config->get('interface', 'application_url') . '/oidc/callback', 'code' => $_GET['code'], 'code_verifier' => $_SESSION['oidc_code_verifier'],
    ]);
    $post = ['method' => 'POST', 'header' => 'Content-Type: application/x-www-form-urlencoded', 'content' => $form];
    $tokens = json_decode((string) file_get_contents($found['token_endpoint'], false, stream_context_create(['http' => $post])), true);
    $get = ['header' => 'Authorization: Bearer ' . ($tokens['access_token'] ?? '')];
    $user = json_decode((string) file_get_contents($found['userinfo_endpoint'], false, stream_context_create(['http' => $get])), true);
    unset($_SESSION['oidc_state'], $_SESSION['oidc_code_verifier']);
    if (!is_array($user)) {
        $_SESSION['message'] = 'Authentication failed: no user information';
        go('/login');
    }
    $of = fn(string $field, mixed $default) => $user[$provider['user_mapping'][$field]] ?? $default;
    $info = new OidcUserInfo(
        $of('username', ''), $of('email', ''), $of('first_name', ''), $of('last_name', ''), $of('display_name', ''), $of('groups', []), $id, $of('subject', ''), $user
    );
    $service = new UserProvisioningService($accounts, $config, new Logger(new stdClass(), 'info'));
    $account = $service->provisionUser($info, $id) ?? throw new LogicException('not provisioned');
    session_regenerate_id(true);
    $_SESSION = [
        'userid' => $account, 'userlogin' => $service->getDatabaseUsername($account), 'name' => $info->getDisplayName(), 'auth_method_used' => 'oidc',
        'authenticated' => true, 'mfa_required' => false, 'oidc_authenticated' => true, 'oidc_provider' => $id, 'lastmod' => time(),
    ] + $_SESSION;
    (new CsrfTokenService())->ensureTokenExists();
    go('/');
}

/** Requires a session that is whole: without auth_method_used, the password would be asked for. */
function authenticate(): void
{
    $whole = ($_SESSION['userid'] ?? 0) > 0 && ($_SESSION['userlogin'] ?? '') !== '' && ($_SESSION['csrf_token'] ?? '') !== '';
    $byPassword = ($_SESSION['auth_method_used'] ?? 'sql') === 'sql';
    $trusted = $byPassword ? isset($_SESSION['userpwd']) : $_SESSION['authenticated'] && $_SESSION['mfa_required'] === false;
    if (!$whole || !$trusted) {
        go('/login');
    }
    if (time() - $_SESSION['lastmod'] > IDLE) {
        leave();
    }
    $_SESSION['lastmod'] = time();
}

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
match ($path) {
    '/login' => login($config),
    '/logout' => leave(),
    '/oidc/login' => beginOpenID($config),
    '/oidc/callback' => endOpenID($config, $accounts),
    default => authenticate(),
};
$id = $_SESSION['userid'];
$template = $id === 1 ? 'Administrator' : $accounts->change(fn(array &$all) => $all[$id]['template']);
if ($path === '/') {
    page('<h5>Welcome ' . htmlspecialchars($_SESSION['name']) . '</h5>');
}
if ($template !== 'Administrator') {
    page('You do not have the permission.');
}
if ($path === '/users/add' && $_SERVER['REQUEST_METHOD'] === 'POST') {
    hash_equals($_SESSION['csrf_token'], $_POST['_token'] ?? '') ? go('/users') : page('Invalid CSRF token.');
}
page("<form method=post><input type=\"hidden\" name=\"_token\" value=\"{$_SESSION['csrf_token']}\"><input name=\"username\"></form>");
