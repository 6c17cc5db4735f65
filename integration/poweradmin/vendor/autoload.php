<?php
// What docs/poweradmin/prepend.php uses of Poweradmin, as strict as Poweradmin or stricter. It is written from what Poweradmin
// 4.4.1 was seen to do; no code of it is here. Accounts are in a JSON file.

namespace Poweradmin\Infrastructure\Configuration {
    final class ConfigurationManager
    {
        private static ?self $only = null;
        private ?array $settings = null;

        public static function getInstance(): self
        {
            return self::$only ??= new self();
        }

        public function initialize(): void
        {
            $this->settings ??= require getenv('PA_CONFIG_PATH');
        }

        public function getAll(): array
        {
            return $this->settings ?? throw new \LogicException('the configuration is not initialized');
        }

        public function get(string $group, string $key, mixed $default = null): mixed
        {
            return $this->getAll()[$group][$key] ?? $default;
        }
    }
}

namespace Poweradmin\Infrastructure\Database {
    final class PDODatabaseConnection
    {
    }

    /** The accounts, by id. It answers one query only. */
    final class Accounts
    {
        private mixed $id = null;

        public function __construct(private string $file)
        {
        }

        public function prepare(string $query): self
        {
            $query === 'SELECT active FROM users WHERE id = ?' || throw new \LogicException("unexpected query: $query");
            return $this;
        }

        public function execute(array $values): void
        {
            [$this->id] = $values;
        }

        public function fetchColumn(): mixed
        {
            return $this->change(fn(array &$all) => $all[$this->id]['active'] ?? false);
        }

        public function change(callable $change): mixed
        {
            $f = fopen($this->file, 'c+');
            flock($f, LOCK_EX);
            $all = json_decode(stream_get_contents($f), true) ?? [];
            $result = $change($all);
            ftruncate($f, 0);
            rewind($f);
            fwrite($f, json_encode($all));
            return $result;
        }
    }
}

namespace Poweradmin\Infrastructure\Logger {
    final class LoggerHandlerFactory
    {
        public static function create(array $settings): object
        {
            return new \stdClass();
        }
    }

    final class Logger
    {
        public function __construct(object $handler, string $level)
        {
        }
    }
}

namespace Poweradmin\Domain\Service {
    use Poweradmin\Infrastructure\Configuration\ConfigurationManager;

    final class DatabaseCredentialMapper
    {
        public static function mapCredentials(ConfigurationManager $config): array
        {
            return ['db_type' => $config->getAll()['database']['type'], 'db_file' => $config->getAll()['database']['file']];
        }
    }
}

namespace Poweradmin\Domain\ValueObject {
    final class OidcUserInfo
    {
        public function __construct(
            public readonly string $username,
            public readonly string $email,
            public readonly string $firstName = '',
            public readonly string $lastName = '',
            public readonly string $displayName = '',
            public readonly array $groups = [],
            public readonly string $providerId = '',
            public readonly string $subject = '',
            public readonly array $rawData = [],
        ) {
        }

        public function getDisplayName(): string
        {
            return $this->displayName ?: trim("$this->firstName $this->lastName");
        }
    }
}

namespace Poweradmin\Application\Service {
    use Poweradmin\Domain\ValueObject\OidcUserInfo;
    use Poweradmin\Infrastructure\Configuration\ConfigurationManager;
    use Poweradmin\Infrastructure\Database\Accounts;
    use Poweradmin\Infrastructure\Database\PDODatabaseConnection;
    use Poweradmin\Infrastructure\Logger\Logger;

    final class DatabaseService
    {
        public function __construct(PDODatabaseConnection $connection)
        {
        }

        public function connect(array $credentials): Accounts
        {
            $credentials['db_type'] === 'sqlite' || throw new \LogicException('not the credentials of the settings');
            return new Accounts($credentials['db_file'] . '.json');
        }
    }

    final class UserProvisioningService
    {
        public function __construct(private Accounts $accounts, private ConfigurationManager $config, Logger $logger)
        {
        }

        /** Finds the account by provider and subject, else makes one; a name that is taken gets a number. */
        public function provisionUser(OidcUserInfo $info, string $provider): ?int
        {
            if ($info->username === '' || $info->subject === '' || $info->providerId !== $provider) {
                return null;
            }
            $template = $this->config->get('oidc', 'default_permission_template', 'Guest');
            foreach ($this->config->get('oidc', 'permission_template_mapping', []) as $group => $mapped) {
                if (in_array($group, $info->groups, true)) {
                    $template = $mapped;
                    break;
                }
            }
            return $this->accounts->change(function (array &$all) use ($info, $provider, $template): int {
                $link = "$provider $info->subject";
                $id = array_search($link, array_column($all, 'link', 'id'), true);
                if ($id === false) {
                    $id = count($all) + 2; // 1 is the superuser
                    for ($name = $info->username, $n = 1; in_array($name, ['admin', ...array_column($all, 'username')], true); $n++) {
                        $name = "{$info->username}_$n";
                    }
                    $all[$id] = ['id' => $id, 'link' => $link, 'username' => $name, 'active' => 1];
                }
                $all[$id]['template'] = $template;
                return $id;
            });
        }

        public function getDatabaseUsername(int $id): ?string
        {
            return $this->accounts->change(fn(array &$all) => $all[$id]['username'] ?? null);
        }
    }

    final class CsrfTokenService
    {
        public function ensureTokenExists(): void
        {
            $_SESSION['csrf_token'] ??= bin2hex(random_bytes(20));
        }
    }
}
