package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/net/http2/hpack"
)

const customerKey = "multiplexed_model_id"

// headers are those of every call, but for the customer.
type headers []hpack.HeaderField

func newHeaders(o options) headers {
	scheme := "http"
	if o.TLS {
		scheme = "https"
	}
	made := headers{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: scheme}, {Name: ":path", Value: o.Method},
		{Name: ":authority", Value: o.Address}, {Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"}, {Name: "user-agent", Value: "forecast-grpc-load"},
	}
	if o.Timeout > 0 {
		made = append(made, hpack.HeaderField{Name: "grpc-timeout", Value: fmt.Sprintf("%dm", o.Timeout/time.Millisecond)})
	}
	if token := os.Getenv("FORECAST_GRPC_TOKEN"); token != "" && o.TLS {
		made = append(made, hpack.HeaderField{Name: "authorization", Value: "Bearer " + token, Sensitive: true})
	}
	for i := 0; i+1 < len(o.Metadata); i += 2 {
		made = append(made, hpack.HeaderField{Name: o.Metadata[i], Value: o.Metadata[i+1]})
	}
	return made
}

func (h headers) encode(encoder *hpack.Encoder, customer string) {
	for _, field := range h {
		_ = encoder.WriteField(field) // Into memory.
	}
	if customer != "" {
		_ = encoder.WriteField(hpack.HeaderField{Name: customerKey, Value: customer})
	}
}
