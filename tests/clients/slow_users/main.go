// Command slow is a slow user of two streams: see tests/clients/test_streams.py.
package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"sync/atomic"
	"time"

	"forecastgrpc"
	pb "forecastgrpc/forecast/v1"
)

var sent, taken, most atomic.Int64

// items gives n items, and closes full with the first that has to wait, ended when the sender wants no more.
func items(n int, full, ended chan struct{}) iter.Seq[*pb.ForecastItem] {
	horizon, days := int32(1), make([]float64, 100)
	return func(yield func(*pb.ForecastItem) bool) {
		defer close(ended)
		for i := range n {
			most.Store(max(most.Load(), sent.Add(1)-taken.Load()))
			if i == 500 {
				close(full)
			}
			request := &pb.ForecastRequest{SequenceData: days, Horizon: &horizon}
			if !yield(&pb.ForecastItem{Tag: fmt.Sprint(i), CustomerId: "weekly", Request: request}) {
				return
			}
		}
	}
}

func main() {
	connection, _ := forecastgrpc.Dial(os.Args[1])
	service := pb.NewForecastServiceClient(connection)
	full, ended := make(chan struct{}), make(chan struct{})
	for result, err := range forecastgrpc.Stream(context.Background(), service, items(5000, full, ended)) {
		if err != nil || len(result.GetResponse().GetForecast()) != 1 {
			panic(fmt.Sprint(err, result))
		}
		if taken.Add(1) == 1 {
			<-full
			time.Sleep(2 * time.Second)
		}
	}
	<-ended
	fmt.Println(taken.Load(), most.Load())

	full, ended = make(chan struct{}), make(chan struct{})
	for range forecastgrpc.Stream(context.Background(), service, items(1_000_000, full, ended)) {
		<-full
		break
	}
	<-ended
	fmt.Println("ended")
}
