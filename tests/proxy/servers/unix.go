// A server on a Unix socket as Go has it: it answers with the body it got, and the Host it was sent.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	listening, err := net.Listen("unix", os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Println("listening")
	panic(http.Serve(listening, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Seen-Host", r.Host)
		w.Write(body)
	})))
}
