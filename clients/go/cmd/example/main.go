// Command example asks a forecast-grpc service for forecasts: go run ./cmd/example [HOST:PORT]. With ANYSCALE_TOKEN in
// the environment it calls an Anyscale service, with TLS and the token.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"forecastgrpc"
	pb "forecastgrpc/forecast/v1"
)

func main() {
	address := append(os.Args[1:], "127.0.0.1:9000")[0]
	connection, err := forecastgrpc.Dial(address) // with the retry policy
	if token := os.Getenv("ANYSCALE_TOKEN"); token != "" {
		connection, err = forecastgrpc.DialAnyscale(address, token, os.Getenv("ANYSCALE_APPLICATION"))
	}
	check(err)
	defer connection.Close()
	service := pb.NewForecastServiceClient(connection)
	// Without a deadline a call may wait for ever; this one is for all that follows, retries included.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	horizon, sequence := int32(3), []float64{100, 102, 98, 105, 110, 108, 112, 115, 118, 120}
	request := &pb.ForecastRequest{SequenceData: sequence, Horizon: &horizon, QuantileLevels: []float64{0.1, 0.9}}
	answer, err := service.Forecast(forecastgrpc.ForCustomer(ctx, "customer_123"), request)
	check(err)
	fmt.Println("one:", answer.CustomerId, answer.Forecast)

	_, err = service.Forecast(forecastgrpc.ForCustomer(ctx, "nobody"), request)
	refused := forecastgrpc.Explain(err)
	fmt.Println("refused:", refused.Reason, refused.Message)

	var items []*pb.ForecastItem
	for _, customer := range []string{"customer_123", "customer_456", "nobody"} {
		items = append(items, &pb.ForecastItem{Tag: customer, CustomerId: customer, Request: request})
	}
	batch, err := service.BatchForecast(ctx, &pb.BatchForecastRequest{Items: items})
	check(err)
	for _, result := range batch.Results { // in the order of the items
		fmt.Println("batch:", result.Tag, result.GetResponse().GetForecast(), result.GetError().GetReason())
	}
	for result, err := range forecastgrpc.Stream(ctx, service, slices.Values(items[:1])) { // in no order
		check(err)
		fmt.Println("stream:", result.Tag, result.GetResponse().GetForecast())
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
