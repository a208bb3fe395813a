// Command load makes so many calls a second until its standard input ends. Each second, and at the end, it prints a
// line of JSON: how many calls there were, in how many attempts, and what became of those that failed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"forecastgrpc"
	pb "forecastgrpc/forecast/v1"
)

func main() {
	address := flag.String("address", "127.0.0.1:9000", "HOST:PORT of the service")
	rate := flag.Int("rate", 100, "calls a second")
	customers := flag.Int("customers", 60, "how many customers, named shop-00 and so on")
	deadline := flag.Duration("deadline", 20*time.Second, "of each call, its retries included")
	flag.Parse()
	counted := &tally{Failures: map[string]int{}}
	connection, err := forecastgrpc.Dial(*address, grpc.WithStatsHandler(counted))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	service := pb.NewForecastServiceClient(connection)
	var running sync.WaitGroup
	ended := inputEnd()
	calls, lines := time.NewTicker(time.Second/time.Duration(*rate)), time.NewTicker(time.Second)
	for number := 0; ; {
		select {
		case <-ended:
			running.Wait()
			counted.print()
			return
		case <-lines.C:
			counted.print()
		case <-calls.C:
			customer := fmt.Sprintf("shop-%02d", number%*customers)
			running.Go(func() { counted.add(call(service, customer, *deadline)) })
			number++
		}
	}
}

// inputEnd is closed when standard input ends.
func inputEnd() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	return ended
}

func call(service pb.ForecastServiceClient, customer string, deadline time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(forecastgrpc.ForCustomer(context.Background(), customer), deadline)
	defer cancel()
	started := time.Now()
	_, err := service.Forecast(ctx, &pb.ForecastRequest{SequenceData: []float64{1, 2, 3}})
	return time.Since(started), err
}

// print writes what there is so far.
func (t *tally) print() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if err := json.NewEncoder(os.Stdout).Encode(t); err != nil {
		log.Fatal(err)
	}
}
