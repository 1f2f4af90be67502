// Puts load on a gRPC method: some callers at a time, each with its next message as soon as it has its answer.
//
// Usage: grpc_load ADDRESS METHOD MESSAGES CALLERS SECONDS FIRST CONNECTIONS
//
// MESSAGES is a file of encoded messages, each behind its length in four bytes, big-endian. They are sent in turn, from
// the one at FIRST on, over CONNECTIONS that the callers share. It prints one line that load.py reads. With 0 SECONDS, it
// makes one call and prints "ok".
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// raw passes on messages that are encoded already, and the bytes of answers.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) int {
	found, err := strconv.Atoi(text)
	check(err)
	return found
}

func read(path string) (messages [][]byte) {
	data, err := os.ReadFile(path)
	check(err)
	for len(data) > 0 {
		size := binary.BigEndian.Uint32(data)
		messages, data = append(messages, data[4:4+size]), data[4+size:]
	}
	return messages
}

func main() {
	address, method, messages := os.Args[1], os.Args[2], read(os.Args[3])
	callers, first, shared := number(os.Args[4]), number(os.Args[6]), number(os.Args[7])
	seconds, err := strconv.ParseFloat(os.Args[5], 64)
	check(err)
	connections := make([]*grpc.ClientConn, shared)
	for at := range connections {
		connections[at], err = grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		check(err)
	}
	call := func(connection *grpc.ClientConn, message []byte) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var answer []byte
		return connection.Invoke(ctx, method, &message, &answer, grpc.ForceCodec(raw{}))
	}
	if seconds == 0 {
		check(call(connections[0], messages[0]))
		fmt.Println("ok")
		return
	}
	var next, broken atomic.Int64
	next.Store(int64(first))
	latencies := make([][]float64, callers)
	begin := time.Now()
	end := begin.Add(time.Duration(seconds * float64(time.Second)))
	var running sync.WaitGroup
	for caller := range callers {
		running.Add(1)
		go func() {
			defer running.Done()
			for sent := time.Now(); sent.Before(end); sent = time.Now() {
				if call(connections[caller%shared], messages[int(next.Add(1)-1)%len(messages)]) != nil {
					broken.Add(1)
				}
				latencies[caller] = append(latencies[caller], float64(time.Since(sent).Microseconds())/1000)
			}
		}()
	}
	running.Wait()
	took := time.Since(begin).Seconds()
	var all []float64
	for _, each := range latencies {
		all = append(all, each...)
	}
	sort.Float64s(all)
	fmt.Printf(`BENCH {"requests": %d, "refused": 0, "seconds": %f, "p50": %f, "p99": %f, "broken": %d}`+"\n",
		len(all), took, all[len(all)/2], all[len(all)*99/100], broken.Load())
}
