<?php
// Answers questions about assertions: see verifiers_test.go.
namespace CaddySso;

require $argv[1] . '/php/verify.php';

function time(): int
{
    return $GLOBALS['question']['now'];
}

while ($line = fgets(STDIN)) {
    $question = json_decode($line, true);
    if (isset($question['url'])) {
        try {
            $verifier = new Verifier($argv[2], $argv[3], $question['url'], ['algorithms' => $question['algorithms']]);
            echo "[{}]\n";
        } catch (\InvalidArgumentException $e) {
            echo json_encode([['error' => $e->getMessage()]]), "\n";
        }
        continue;
    }
    unset($_SERVER['HTTP_X_SSO_ASSERTION']);
    if ($question['values']) {
        $_SERVER['HTTP_X_SSO_ASSERTION'] = implode(', ', $question['values']);
    }
    try {
        $answer = ['who' => $verifier->verifyRequest()];
    } catch (Invalid | KeysUnavailable $e) {
        $answer = ['error' => $e->getMessage(), 'unavailable' => $e instanceof KeysUnavailable];
    }
    echo json_encode(array_fill(0, $question['times'], $answer)), "\n";
}
