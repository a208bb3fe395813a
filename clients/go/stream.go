package forecastgrpc

import (
	"context"
	"errors"
	"io"
	"iter"

	pb "forecastgrpc/forecast/v1"
)

// Stream sends the items over one stream, and yields each result as it comes, in no order; an error ends it. Items are
// taken in a goroutine of their own, and only while the service has room for more.
func Stream(
	ctx context.Context, service pb.ForecastServiceClient, items iter.Seq[*pb.ForecastItem],
) iter.Seq2[*pb.ForecastResult, error] {
	return func(yield func(*pb.ForecastResult, error) bool) {
		// Who stops before the end ends the stream.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := service.StreamForecast(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		go send(stream, items)
		receive(stream, yield)
	}
}

func send(stream pb.ForecastService_StreamForecastClient, items iter.Seq[*pb.ForecastItem]) {
	for item := range items {
		if stream.Send(&pb.StreamForecastRequest{Items: []*pb.ForecastItem{item}}) != nil {
			return // Recv has the error.
		}
	}
	_ = stream.CloseSend() // As above.
}

func receive(stream pb.ForecastService_StreamForecastClient, yield func(*pb.ForecastResult, error) bool) {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for _, result := range message.GetResults() {
			if !yield(result, nil) {
				return
			}
		}
	}
}
