// An https server as Go has it: 6 MB, and the connection is closed behind them.
//
//	/length   Content-Length
//	/close    framed by the end of the connection
//	/chunked  chunked
package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	var body bytes.Buffer
	for i := 0; i < 750000; i++ {
		fmt.Fprintf(&body, "%08d", i)
	}
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listening.Addr().(*net.TCPAddr).Port)
	answer := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
		case "/close":
			w.Header().Set("Transfer-Encoding", "identity")
		}
		w.Write(body.Bytes())
	}
	server := &http.Server{Handler: http.HandlerFunc(answer)}
	panic(server.ServeTLS(listening, os.Args[1], os.Args[2]))
}
