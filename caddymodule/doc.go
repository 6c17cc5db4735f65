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
//   - Provision resolves placeholders ({env.…}, {file.…}) and builds
//     everything that can be wrong in a configuration. It opens no store and
//     uses no network, so that `caddy validate` works beside a running server.
//     Its errors name site, provider and option.
//   - Start opens the store, makes the secret where there is none, and learns
//     each site's host names from the routes of the http app. A provider or a
//     Redis that is down stops nothing.
//   - Cleanup gives back what Start took. The store and the sessions stay open
//     as long as one configuration uses them, so a reload loses nothing.
//
// http may serve before Start is through: requests wait for it, for 5 seconds at
// most, and are then answered 503.
package caddymodule
