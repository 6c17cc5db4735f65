// Package caddymodule is the single sign-on gateway as modules for Caddy: the
// app "sso", the handler "http.handlers.sso", and the Caddyfile's global option
// and directive "sso". Package gateway does the work; this one tells it what
// only Caddy knows.
//
// A configuration goes through four stages, and each may do less than the
// next:
//
//   - Adapting a Caddyfile reads no file and resolves no placeholder. Its
//     errors are those of grammar, with file, line and the nearest valid word.
//   - Provision resolves placeholders ({env.…}, {file.…}) and compiles all
//     options, once: the providers, the gateway, and one app for each handler. It
//     opens no store and uses no network, so that `caddy validate` works beside a
//     running server. When the last handler is there, the apps learn their host
//     names from the routes of the http app. Its errors name site, provider and option.
//   - Start looks at the routes once more, as Caddy has built them. Then it opens the
//     store, makes the secret where there is none, and binds providers and gateway to
//     them. A provider or a Redis that is down stops nothing.
//   - Cleanup gives back what Start took. The store and the sessions stay open
//     as long as one configuration uses them, so a reload loses nothing.
//
// http may serve before Start is through: requests wait for it, for 5 seconds at
// most, and are then answered 503.
package caddymodule
