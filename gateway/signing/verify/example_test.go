package verify_test

import (
	"fmt"
	"log"
	"net/http"
	"slices"

	"github.com/caddy-sso/caddy-sso/gateway/signing/verify"
)

// An app behind the gateway that greets everyone who is signed in, and shows
// one page to those only whom the gateway's rules give the role Admin.
func Example() {
	v, err := verify.New(verify.Config{
		Issuer:   "https://app.example.com",
		Audience: "app.example.com",
		JWKSURL:  "https://app.example.com/.sso/jwks.json",
	})
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello %s\n", verify.FromContext(r.Context()).Username)
	})
	http.HandleFunc("/admin", func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(verify.FromContext(r.Context()).Roles, "Admin") {
			http.Error(w, "admins only", http.StatusForbidden)
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", v.Middleware(http.DefaultServeMux)))
}
