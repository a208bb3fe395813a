package main

import (
	"math"
	"os"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of forecast.v1.ForecastRequest. Written here by hand, so that the module needs no generated code:
// a request is encoded once, and an answer is never decoded.
const (
	sequenceData   protowire.Number = 1
	horizon        protowire.Number = 2
	quantileLevels protowire.Number = 3
)

// The tutorial's sequence: a window of ten is exactly this one.
var tutorial = []float64{100, 102, 98, 105, 110, 108, 112, 115, 118, 120}

// newRequest is the message of every request, as the options say.
func newRequest(o options) ([]byte, error) {
	if o.RequestFile != "" {
		return os.ReadFile(o.RequestFile)
	}
	window := make([]float64, o.Window)
	for i := range window {
		window[i] = tutorial[i%len(tutorial)]
	}
	message := appendDoubles(nil, sequenceData, window)
	if o.Horizon > 0 {
		message = protowire.AppendTag(message, horizon, protowire.VarintType)
		message = protowire.AppendVarint(message, uint64(o.Horizon))
	}
	return appendDoubles(message, quantileLevels, o.Quantiles), nil
}

func appendDoubles(message []byte, field protowire.Number, values []float64) []byte {
	if len(values) == 0 {
		return message
	}
	var packed []byte
	for _, value := range values {
		packed = protowire.AppendFixed64(packed, math.Float64bits(value))
	}
	message = protowire.AppendTag(message, field, protowire.BytesType)
	return protowire.AppendBytes(message, packed)
}
