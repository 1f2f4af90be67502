// Go's client, which shows its certificate when it is asked for one: prints the status of each of three responses.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
)

func main() {
	authority, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	servers := x509.NewCertPool()
	servers.AppendCertsFromPEM(authority)
	pair, err := tls.LoadX509KeyPair(os.Args[3], os.Args[3])
	if err != nil {
		panic(err)
	}
	settings := &tls.Config{RootCAs: servers, Certificates: []tls.Certificate{pair}}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: settings}}
	for i := 0; i < 3; i++ {
		response, err := client.Get(os.Args[1])
		if err != nil {
			fmt.Println("refused")
			return
		}
		response.Body.Close()
		fmt.Println(response.StatusCode)
	}
}
