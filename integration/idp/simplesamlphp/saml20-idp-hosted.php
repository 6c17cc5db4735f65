<?php
// Response and assertion are signed with RSA-SHA256 unless the service
// provider's options say otherwise. The NameID is of the format that is asked
// for, else the user name.
$unspecified = 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified';
$metadata['__DYNAMIC:1__'] = [
    'host' => '__DEFAULT__',
    'privatekey' => 'idp.key',
    'certificate' => 'idp.crt',
    'auth' => 'lab',
    'signature.algorithm' => 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
    'saml20.sign.response' => true,
    'saml20.sign.assertion' => true,
    'NameIDFormat' => $unspecified,
    'attributes.NameFormat' => 'urn:oasis:names:tc:SAML:2.0:attrname-format:basic',
    'authproc' => [
        1 => ['class' => 'saml:AttributeNameID', 'attribute' => 'uid', 'Format' => $unspecified],
        2 => ['class' => 'saml:AttributeNameID', 'attribute' => 'mail', 'Format' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress'],
        3 => ['class' => 'saml:PersistentNameID', 'attribute' => 'uid'],
        4 => ['class' => 'saml:TransientNameID'],
    ],
];
