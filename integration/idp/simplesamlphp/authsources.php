<?php
$config = [
    'admin' => ['core:AdminPassword'],
    'lab' => ['exampleauth:UserPass'] + json_decode(file_get_contents(dirname(__DIR__) . '/users.json'), true),
];
