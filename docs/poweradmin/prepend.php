<?php
// Signs people in to Poweradmin by the assertion of caddy-sso, without a change of Poweradmin. A file of your own, named in
// auto_prepend_file, calls it: docs/poweradmin.md.
//
// A request with a valid assertion is that person's, whatever session its cookie opens. If the session is another person's
// or of another login, a new one begins. If the person's roles have changed, Poweradmin learns them at once. A request
// without a valid assertion ends a session that began here. Sessions by Poweradmin's own form are left alone.
//
// It uses classes that are internal to Poweradmin. It was run with 4.4.1: test it before you update Poweradmin.
declare(strict_types=1);

namespace CaddySso\Poweradmin;

use CaddySso\Invalid;
use CaddySso\KeysUnavailable;
use CaddySso\Missing;
use CaddySso\Verifier;
use Poweradmin\Application\Service\CsrfTokenService;
use Poweradmin\Application\Service\DatabaseService;
use Poweradmin\Application\Service\UserProvisioningService;
use Poweradmin\Domain\Service\DatabaseCredentialMapper;
use Poweradmin\Domain\ValueObject\OidcUserInfo;
use Poweradmin\Infrastructure\Configuration\ConfigurationManager;
use Poweradmin\Infrastructure\Database\PDODatabaseConnection;
use Poweradmin\Infrastructure\Logger\Logger;
use Poweradmin\Infrastructure\Logger\LoggerHandlerFactory;

require_once __DIR__ . '/verify.php';

const PROVIDER = 'sso'; // Poweradmin links an account to it and to the assertion's subject
const MARK = 'caddy_sso'; // in a session: for whom it began

/** Signs the person of the request in, or ends a session that began here. */
function run(Verifier $verifier): void
{
    $root = dirname($_SERVER['SCRIPT_FILENAME'] ?? '');
    if (PHP_SAPI === 'cli' || basename($_SERVER['SCRIPT_FILENAME']) !== 'index.php' || !is_file("$root/lib/Application/Helpers/StartupHelpers.php")) {
        return; // commands, DNS updates and the installer have no sessions
    }
    $claims = claims($verifier);
    if ($claims === null && !isset($_COOKIE[session_name()])) {
        return;
    }
    chdir($root);
    require_once "$root/vendor/autoload.php";
    require_once "$root/lib/Application/Helpers/StartupHelpers.php";
    $config = ConfigurationManager::getInstance();
    $config->initialize();
    initializeSession();
    if ($claims === null) {
        if (isset($_SESSION[MARK])) {
            renew();
        }
        session_write_close();
        return;
    }
    $groups = groups($claims);
    $person = fingerprint($claims['sub'], $claims['sid']);
    $mark = ['person' => $person, 'groups' => fingerprint(...$groups)];
    if (($_SESSION[MARK] ?? null) !== $mark) {
        if (($_SESSION[MARK]['person'] ?? '') !== $person) {
            renew();
        }
        unset($_SESSION[MARK], $_SESSION['userid']);
        signIn($claims, $groups, $config);
        $_SESSION[MARK] = $mark;
    }
    session_write_close();
}

/** Returns the claims of the request's assertion, or null if it has no valid one. */
function claims(Verifier $verifier): ?array
{
    try {
        $claims = $verifier->verifyRequest();
    } catch (Missing $e) {
        return null;
    } catch (Invalid $e) {
        error_log('caddy-sso: the assertion is not valid: ' . $e->getMessage());
        return null;
    } catch (KeysUnavailable $e) {
        error_log('caddy-sso: ' . $e->getMessage());
        stop(503, "Sign-in can't be verified at the moment. Try again in a minute.\n");
    }
    if ($claims['sid'] === '' || $claims['preferred_username'] === '') {
        error_log('caddy-sso: the assertion names no session or no user');
        return null;
    }
    return $claims;
}

/** Returns all that Poweradmin's mappings may name: the template, the roles, the groups. */
function groups(array $claims): array
{
    $all = [$claims['template'], ...$claims['roles'], ...$claims['groups']];
    return array_values(array_unique(array_filter($all, fn($name) => $name !== '')));
}

function fingerprint(string ...$of): string
{
    return hash('sha256', json_encode($of, JSON_THROW_ON_ERROR));
}

/** Makes the session an empty one with a new identifier. */
function renew(): void
{
    $_SESSION = [];
    session_regenerate_id(true);
}

/** Makes or updates the person's account, and opens the session as Poweradmin's own OpenID login does. */
function signIn(array $claims, array $groups, ConfigurationManager $config): void
{
    $db = (new DatabaseService(new PDODatabaseConnection()))->connect(DatabaseCredentialMapper::mapCredentials($config));
    $logger = new Logger(LoggerHandlerFactory::create($config->getAll()), $config->get('logging', 'level', 'info'));
    $info = new OidcUserInfo(
        username: $claims['preferred_username'],
        email: $claims['email'],
        firstName: $claims['given_name'],
        lastName: $claims['family_name'],
        displayName: $claims['name'],
        groups: $groups,
        providerId: PROVIDER,
        subject: $claims['sub'],
        rawData: $claims,
    );
    $accounts = new UserProvisioningService($db, $config, $logger);
    $id = $accounts->provisionUser($info, PROVIDER);
    $active = $db->prepare('SELECT active FROM users WHERE id = ?');
    $active->execute([$id]);
    if ($id === null || (int)$active->fetchColumn() !== 1) {
        error_log("caddy-sso: Poweradmin has no active account for {$claims['preferred_username']}");
        session_write_close();
        stop(403, "You are signed in, but Poweradmin has no active account for you. Ask your administrator.\n");
    }
    foreach (
        [
            'userid' => $id,
            'userlogin' => $accounts->getDatabaseUsername($id),
            'name' => $info->getDisplayName(),
            'userfullname' => $info->getDisplayName(),
            'email' => $claims['email'],
            'useremail' => $claims['email'],
            'auth_used' => 'oidc',
            'auth_method_used' => 'oidc',
            'authenticated' => true,
            'mfa_required' => false,
            'oidc_authenticated' => true,
            'oidc_provider' => PROVIDER,
            'lastmod' => time(),
        ] as $key => $value
    ) {
        $_SESSION[$key] = $value;
    }
    (new CsrfTokenService())->ensureTokenExists();
}

function stop(int $status, string $text): never
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    header('Cache-Control: no-store');
    exit($text);
}
