// Package caddymodule has the modules for Caddy: the app "sso", the handler
// "http.handlers.sso", and the Caddyfile's global option and directive "sso". They connect
// Caddy to package gateway, which does the work.
//
// A configuration goes through four stages:
//
//   - Adapting a Caddyfile reads no file and resolves no placeholder. It finds mistakes of
//     syntax. Its errors name file and line, and the nearest valid word.
//   - Provision resolves placeholders ({env.…}, {file.…}) and makes the providers, the
//     gateway, and one app for each handler. It opens no store and uses no network, so
//     `caddy validate` works beside a running server. When the last handler is provisioned,
//     the apps learn their host names from the routes of the http app. Errors name site,
//     provider and option.
//   - Start checks the routes once more, now that Caddy has provisioned them. It opens the
//     store, makes the secret if there is none, and binds providers and gateway to both. If
//     a provider or Redis is down, Start succeeds all the same.
//   - Cleanup releases the store and the sessions. They stay open while another
//     configuration uses them, so a reload loses nothing.
//
// The http app may serve before Start has returned. Requests then wait up to 5 seconds and
// get a 503 after that.
package caddymodule
