package forecastgrpc

import (
	"context"
	"errors"
	"io"
	"iter"

	pb "forecastgrpc/forecast/v1"
)

// maxPending is how many items of a stream may have results that have not been taken. A proxy on the way may hold back
// that results were taken, behind items that it cannot pass on. With more of them than the service reads while results
// wait (1,000 items, 5,000,000 values) both sides would stand still for ever. 500 of the longest sequence, 10,000 values,
// stay within both.
const maxPending = 500

// Stream sends the items over one stream, and yields each result as it comes, in no order; an error ends it. Items are
// taken in a goroutine of their own, and sent as long as there are at most 500 whose results have not been taken.
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
		places := make(chan struct{}, maxPending)
		go send(ctx, stream, items, places)
		receive(stream, places, yield)
	}
}

func send(
	ctx context.Context, stream pb.ForecastService_StreamForecastClient, items iter.Seq[*pb.ForecastItem],
	places chan<- struct{},
) {
	for item := range items {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return // Nobody receives any more.
		}
		if stream.Send(&pb.StreamForecastRequest{Items: []*pb.ForecastItem{item}}) != nil {
			return // Recv has the error.
		}
	}
	_ = stream.CloseSend() // As above.
}

func receive(
	stream pb.ForecastService_StreamForecastClient, places <-chan struct{},
	yield func(*pb.ForecastResult, error) bool,
) {
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
			<-places
		}
	}
}
