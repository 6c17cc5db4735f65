<?php

function initializeSession(): void
{
    session_status() === PHP_SESSION_NONE || throw new LogicException('a session is open already');
    session_set_cookie_params(['secure' => ($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '') === 'https', 'httponly' => true, 'samesite' => 'Lax']);
    session_start();
}
