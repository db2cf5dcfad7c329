// Go's standard CGI host and nothing else: net/http and net/http/cgi.
//
//	gocgi ADDRESS TREE
package main

import (
	"log"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	address, tree := os.Args[1], os.Args[2]
	scripts := filepath.Join(tree, "cgi-bin")
	http.HandleFunc("/cgi-bin/", func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/cgi-bin/"), "/")
		program := filepath.Join(scripts, name)
		if found, err := os.Stat(program); err != nil || found.IsDir() {
			http.NotFound(w, r)
			return
		}
		handler := cgi.Handler{Path: program, Root: "/cgi-bin/" + name, Dir: scripts}
		handler.ServeHTTP(w, r)
	})
	http.Handle("/", http.FileServer(http.Dir(tree)))
	log.Fatal(http.ListenAndServe(address, nil))
}
