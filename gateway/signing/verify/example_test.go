package verify_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// An app behind the gateway that greets everybody who is signed in, and shows
// one page only to those whom the gateway's rules give the role Admin.
func Example() {
	v, err := verify.New(verify.Config{
		Issuer:   "https://app.example.com",
		Audience: "app.example.com",
		JWKSURL:  "https://app.example.com/.sso/jwks.json",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	app := http.NewServeMux()
	app.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello %s\n", verify.FromContext(r.Context()).Username)
	})
	app.HandleFunc("/admin", func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(verify.FromContext(r.Context()).Roles, "Admin") {
			http.Error(w, "admins only", http.StatusForbidden)
		}
	})
	guarded := v.Middleware(app) // for http.ListenAndServe

	// A request that did not come by way of the gateway has no assertion.
	answer := httptest.NewRecorder()
	guarded.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	fmt.Println(answer.Code)
	// Output: 401
}
