// Package forecastgrpc connects to a forecast-grpc service: with its retry policy, and with errors that a program can
// read. The stubs are in forecastgrpc/forecast/v1.
package forecastgrpc

import (
	"context"
	_ "embed"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// maxMessageBytes is what an answer may have, and a request that is to be sent again: gRPC's own limits, 4 MiB and
// 256 KiB, are below what a batch can need.
const maxMessageBytes = 64 << 20

//go:embed service_config.json
var retries string

// Dial connects to HOST:PORT without TLS, with the retry policy of service_config.json. Options come after its own
// and win. The connection is for all calls, from any number of goroutines; close it at the end.
func Dial(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	defaults := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(retries),
		grpc.WithChainUnaryInterceptor(again),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxRetryRPCBufferSize(maxMessageBytes)),
	}
	return grpc.NewClient(address, append(defaults, options...)...)
}

// again asks once more where an answer was cut off that had begun to come, as by a replica that dies. gRPC itself
// tries again only what has not begun to be answered.
func again(
	ctx context.Context, method string, request, reply any,
	connection *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	err := call(ctx, method, request, reply, connection, options...)
	if status.Code(err) != codes.Canceled || ctx.Err() != nil || strings.HasSuffix(method, "/ActivateModelVersion") {
		return err
	}
	return call(ctx, method, request, reply, connection, options...)
}

// DialAnyscale connects to an Anyscale service, HOST or HOST:PORT: with TLS, its bearer token, and the name of the
// Serve application, which may be empty where the service runs only one.
func DialAnyscale(address, token, application string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	with := map[string]string{"authorization": "Bearer " + token}
	if application != "" {
		with["application"] = application
	}
	secure := []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(nil)),
		grpc.WithPerRPCCredentials(perCall(with)),
	}
	return Dial("dns:///"+address, append(secure, options...)...)
}

type perCall map[string]string

func (c perCall) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return c, nil
}

// The token goes over no connection that others can read.
func (perCall) RequireTransportSecurity() bool { return true }

// ForCustomer names the customer whose model is to answer the calls of the context.
func ForCustomer(ctx context.Context, customer string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "multiplexed_model_id", customer)
}

// Error is what a failed call says.
type Error struct {
	// Code is the status.
	Code codes.Code
	// Message is for people.
	Message string
	// Reason is for programs: a name of forecast.v1.ErrorReason without its prefix, such as MODEL_NOT_FOUND. Empty where
	// the error does not come from the service itself.
	Reason string
	// Metadata holds facts for programs.
	Metadata map[string]string
	// Fields are those of the request that are at fault.
	Fields []*errdetails.BadRequest_FieldViolation
	// RetryAfter says when a retry may succeed; nil where the service does not say.
	RetryAfter *time.Duration
}

// Explain reads the error of a call.
func Explain(err error) Error {
	found := status.Convert(err)
	explained := Error{Code: found.Code(), Message: found.Message()}
	for _, detail := range found.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			explained.Reason, explained.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.BadRequest:
			explained.Fields = detail.GetFieldViolations()
		case *errdetails.RetryInfo:
			after := detail.GetRetryDelay().AsDuration()
			explained.RetryAfter = &after
		}
	}
	return explained
}
