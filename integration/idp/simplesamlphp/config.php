<?php
// SimpleSAMLphp for the tests: everything that it writes lies beside this
// file's folder, everything that differs from run to run in settings.json.
$dir = dirname(__DIR__);
$settings = json_decode(file_get_contents("$dir/settings.json"), true);
$config = [
    'baseurlpath' => $settings['base'],
    'secretsalt' => $settings['salt'],
    'auth.adminpassword' => $settings['salt'],
    'technicalcontact_name' => 'Tests',
    'technicalcontact_email' => 'tests@example.test',
    'timezone' => 'UTC',
    'certdir' => "$dir/cert/",
    'loggingdir' => "$dir/log/",
    'datadir' => "$dir/data/",
    'tempdir' => "$dir/tmp",
    'metadatadir' => "$dir/metadata/",
    'attributenamemapdir' => '/etc/simplesamlphp/attributemap/',
    'logging.handler' => 'errorlog',
    'logging.level' => 4,
    'enable.saml20-idp' => true,
    'module.enable' => ['core' => true, 'saml' => true, 'exampleauth' => true],
    'metadata.sources' => [['type' => 'flatfile']],
    'store.type' => 'phpsession',
    'session.phpsession.savepath' => "$dir/sessions",
    'session.phpsession.cookiename' => 'SimpleSAML',
    'session.phpsession.httponly' => true,
    'session.cookie.secure' => false, // plain http on loopback
    'session.cookie.samesite' => null,
    'language.default' => 'en',
    'language.available' => ['en'],
    'showerrors' => true,
    'errorreporting' => false,
    'production' => true,
    'admin.checkforupdates' => false,
    'debug' => ['saml' => false, 'backtraces' => true, 'validatexml' => false],
    'trusted.url.domains' => null,
];
