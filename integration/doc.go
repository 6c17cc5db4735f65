// Package integration drives the built binary against real identity providers,
// a real Redis and a real browser.
//
// Its tests need the build tag integration and are run by ./integration/run,
// which installs what they need. Files named harness_… start and stop the
// pieces; the other files are the tests.
package integration
