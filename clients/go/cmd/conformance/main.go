// Command conformance runs the cases of clients/cases.json and prints a line for each: group, name, and what was other
// than it should be. clients/README.md says how the cases are to be read.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"forecastgrpc"
	_ "forecastgrpc/forecast/v1"
)

const timeout = time.Minute

func main() {
	address := flag.String("address", "127.0.0.1:9000", "HOST:PORT of the service")
	service := flag.String("service", "standard", "the service that this is, as the cases call it")
	flag.Parse()
	// A retry would hide what the service says.
	connection, err := forecastgrpc.Dial(*address, grpc.WithDisableRetry())
	if err != nil {
		fail(err)
	}
	defer connection.Close()
	cases, err := readCases(flag.Arg(0))
	if err != nil {
		fail(err)
	}
	failed := false
	for _, c := range cases {
		if c.Service == *service && c.Only != "http" {
			problem := c.run(connection)
			failed = failed || problem != ""
			fmt.Println(strings.Join([]string{c.Group, c.Name, flat(problem)}, "\t"))
		}
	}
	if failed {
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}

func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// run makes the call of a case and says what is wrong with what came.
func (c testCase) run(connection *grpc.ClientConn) string {
	method, err := findMethod(c.RPC)
	if err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.New(c.Metadata))
	call := c.unary
	if c.Requests != nil {
		call = c.stream
	}
	reply, trailing, err := call(ctx, connection, method)
	if problem := c.checkTrailing(trailing); problem != "" {
		return problem
	}
	if err != nil {
		return c.checkError(forecastgrpc.Explain(err))
	}
	return c.checkReply(reply)
}

func (c testCase) unary(
	ctx context.Context, connection *grpc.ClientConn, method protoreflect.MethodDescriptor,
) (map[string]any, metadata.MD, error) {
	request, reply := filled(method.Input(), c.Request), newMessage(method.Output())
	var trailing metadata.MD
	err := connection.Invoke(ctx, "/forecast.v1."+c.RPC, request, reply, grpc.Trailer(&trailing))
	return tree(reply), trailing, err
}

// stream gives all results of a stream as one answer, in the order of their tags.
func (c testCase) stream(
	ctx context.Context, connection *grpc.ClientConn, method protoreflect.MethodDescriptor,
) (map[string]any, metadata.MD, error) {
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(ctx, both, "/forecast.v1."+c.RPC)
	if err != nil {
		return nil, nil, err
	}
	go func() {
		for _, request := range c.Requests {
			_ = stream.SendMsg(filled(method.Input(), request)) // RecvMsg has the error.
		}
		_ = stream.CloseSend()
	}()
	results := []any{}
	for {
		reply := newMessage(method.Output())
		if err := stream.RecvMsg(reply); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, stream.Trailer(), err
		}
		results = append(results, tree(reply)["results"].([]any)...)
	}
	slices.SortFunc(results, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["tag"].(string), b.(map[string]any)["tag"].(string))
	})
	return map[string]any{"results": results}, stream.Trailer(), nil
}

// filled is a message with the fields of a tree.
func filled(descriptor protoreflect.MessageDescriptor, fields any) proto.Message {
	message := newMessage(descriptor)
	if err := protojson.Unmarshal(encoded(fields), message); err != nil {
		fail(err)
	}
	return message
}

// tree is a message as the cases write it.
func tree(message proto.Message) map[string]any {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		fail(err)
	}
	fields, err := decoded(text)
	if err != nil {
		fail(err)
	}
	return fields.(map[string]any)
}

func findMethod(rpc string) (protoreflect.MethodDescriptor, error) {
	service, method, _ := strings.Cut(rpc, "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("forecast.v1." + service))
	if err != nil {
		return nil, err
	}
	return found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(method)), nil
}

func newMessage(descriptor protoreflect.MessageDescriptor) proto.Message {
	found, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	if err != nil {
		fail(err)
	}
	return found.New().Interface()
}

func (c testCase) checkTrailing(trailing metadata.MD) string {
	for _, key := range []string{"request_id", "forecast-replica"} {
		if len(trailing.Get(key)) != 1 {
			return "there is no trailing " + key
		}
	}
	for key, wanted := range c.Trailing {
		if got := trailing.Get(key); len(got) != 1 || got[0] != wanted {
			return fmt.Sprintf("trailing %s: %q instead of %q", key, got, wanted)
		}
	}
	return ""
}

func (c testCase) checkReply(got map[string]any) string {
	if c.Reply == nil {
		return "an answer instead of an error"
	}
	for _, field := range c.Ignore {
		delete(got, field)
	}
	return difference("reply", c.Reply, got)
}

func (c testCase) checkError(err forecastgrpc.Error) string {
	if c.Error == nil {
		return fmt.Sprintf("an error instead of an answer: %v: %s", err.Code, err.Message)
	}
	got := map[string]any{"code": codeNames[err.Code], "reason": err.Reason}
	if len(err.Metadata) > 0 {
		got["metadata"] = asTree(err.Metadata)
	}
	if len(err.Fields) > 0 {
		names := []any{}
		for _, violation := range err.Fields {
			names = append(names, violation.GetField())
		}
		got["fields"] = names
	}
	if err.RetryAfter != nil {
		got["retry_after_s"] = err.RetryAfter.Seconds()
	}
	if _, asked := c.Error["message"]; asked {
		got["message"] = err.Message
	}
	return difference("error", c.Error, got)
}

func asTree(texts map[string]string) map[string]any {
	tree := map[string]any{}
	for key, value := range texts {
		tree[key] = value
	}
	return tree
}
