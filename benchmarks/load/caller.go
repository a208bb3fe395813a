package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	customerKey = "multiplexed_model_id"
	tierKey     = "forecast-cache"
	okay        = "OK"
	wrong       = "WRONG"
)

// raw passes messages on as the bytes that they are, so that a request costs no encoding and an answer no decoding.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*message.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

var _ encoding.CodecV2 = raw{}

// caller asks for forecasts.
type caller struct {
	connections []*grpc.ClientConn
	method      string
	request     []byte
	metadata    []string
	timeout     time.Duration
	tiers       bool
	expected    []byte
	length      int
}

func newCaller(o options) (*caller, error) {
	request, err := newRequest(o)
	if err != nil {
		return nil, err
	}
	var expected []byte
	if o.ExpectFile != "" {
		if expected, err = os.ReadFile(o.ExpectFile); err != nil {
			return nil, err
		}
	}
	made := &caller{
		method: o.Method, request: request, metadata: o.Metadata, timeout: o.Timeout, tiers: o.Tiers,
		expected: expected, length: o.ExpectBytes,
	}
	for range o.Connections {
		connection, err := dial(o)
		if err != nil {
			return nil, err
		}
		made.connections = append(made.connections, connection)
	}
	return made, nil
}

func dial(o options) (*grpc.ClientConn, error) {
	secrecy := insecure.NewCredentials()
	if o.TLS {
		secrecy = credentials.NewTLS(&tls.Config{})
	}
	return grpc.NewClient(
		"passthrough:///"+o.Address, // Each connection is one: no list of addresses, no balancing.
		grpc.WithTransportCredentials(secrecy),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)),
		grpc.WithWriteBufferSize(64<<10),
	)
}

// connect waits until every connection is up: what is measured is requests.
func (c *caller) connect(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for _, connection := range c.connections {
		connection.Connect()
		for state := connection.GetState(); state != connectivity.Ready; state = connection.GetState() {
			if state == connectivity.TransientFailure || !connection.WaitForStateChange(ctx, state) {
				return errSilent
			}
		}
	}
	return nil
}

func (c *caller) close() {
	for _, connection := range c.connections {
		connection.Close()
	}
}

// ask sends one request over the connection of that number, and waits for what becomes of it.
func (c *caller) ask(connection int, customer string) answer {
	ctx := metadata.NewOutgoingContext(context.Background(), c.metadataOf(customer))
	if c.timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		ctx = limited
	}
	var reply []byte
	var trailer metadata.MD
	var options []grpc.CallOption
	if c.tiers {
		options = append(options, grpc.Trailer(&trailer))
	}
	err := c.connections[connection%len(c.connections)].Invoke(ctx, c.method, &c.request, &reply, options...)
	return c.judge(reply, trailer, err)
}

func (c *caller) metadataOf(customer string) metadata.MD {
	made := metadata.MD{customerKey: {customer}}
	for i := 0; i+1 < len(c.metadata); i += 2 {
		made.Append(c.metadata[i], c.metadata[i+1])
	}
	return made
}

func (c *caller) judge(reply []byte, trailer metadata.MD, err error) answer {
	made := answer{outcome: okay, bytes: len(reply)}
	if err != nil {
		failure := status.Convert(err)
		return answer{outcome: codeName(failure.Code()), message: failure.Message()}
	}
	if (c.expected != nil && !bytes.Equal(reply, c.expected)) || (c.length > 0 && len(reply) != c.length) {
		made.outcome, made.message = wrong, "an answer is not the expected one"
	}
	if tier := trailer.Get(tierKey); len(tier) > 0 {
		made.tier = tier[0]
	}
	return made
}
