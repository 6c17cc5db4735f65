<?php
// Each file of sps/ is a service provider: its metadata, and options over them.
foreach (glob(dirname(__DIR__) . '/sps/*.json') as $file) {
    $sp = json_decode(file_get_contents($file), true);
    foreach (\SimpleSAML\Metadata\SAMLParser::parseDescriptorsString($sp['metadata']) as $entity => $parser) {
        $metadata[$entity] = ($sp['options'] ?? []) + $parser->getMetadata20SP();
    }
}
